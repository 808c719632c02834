"""Trainables that train nothing, for tests of the driver: what a trial scores is a function of its number and epoch."""

from __future__ import annotations

import math
import os
import signal
import time
from pathlib import Path
from typing import Any

from ray import tune

from tuner.exchange import Assignment, Failure, Report


def scripted_score(number: int, epoch: int) -> float:
    """Deterministic, different for each trial, growing with the epoch."""
    return ((number * 7919 + 13) % 101) / 101 + epoch / 1000


class Scripted(tune.Trainable):
    """Reports `scripted_score`, and appends `number attempt epoch pid` to a ledger, which is not the journal."""

    ledger: str = ""

    def setup(self, config: dict[str, Any], spec_json: str = "", cache: str = "", **_: Any) -> None:
        self.reset_config(config)
        self.ledger = cache

    def reset_config(self, config: dict[str, Any]) -> bool:
        self.assignment = Assignment(**config)
        self.epoch = self.assignment.start_epoch
        return True

    def step(self) -> dict[str, Any]:
        self.epoch += 1
        number, attempt = self.assignment.number, self.assignment.attempt
        with Path(self.ledger).open("a") as ledger:
            ledger.write(f"{number} {attempt} {self.epoch} {os.getpid()}\n")
        return {"report": self.result(number, attempt)}

    def result(self, number: int, attempt: int) -> Report | Failure:
        score = scripted_score(number, self.epoch)
        return Report(epoch=self.epoch, score=score, seconds=0.01, worker=f"pid:{os.getpid()}")


class Slow(Scripted):
    """An epoch takes a fifth of a second, so that four slots have work for four workers."""

    def step(self) -> dict[str, Any]:
        time.sleep(0.2)
        return super().step()


class FourTogether(Slow):
    """Its first epochs last until four processes are there, as real ones last longer than the start of a process."""

    def setup(self, config: dict[str, Any], **arguments: Any) -> None:
        super().setup(config, **arguments)
        Path(f"{self.ledger}.{os.getpid()}.started").touch()

    def step(self) -> dict[str, Any]:
        deadline_s = time.monotonic() + 60
        ledger = Path(self.ledger)
        while len(list(ledger.parent.glob(f"{ledger.name}.*.started"))) < 4:
            assert time.monotonic() < deadline_s, "the fourth process did not start"
            time.sleep(0.05)
        return super().step()


class Misfortunes(Scripted):
    """Trial 1 reports NaN, trial 2 fails, trial 3 kills its worker twice, trial 4 always."""

    def result(self, number: int, attempt: int) -> Report | Failure:
        if number == 1 and self.epoch == 2:
            return Report(epoch=self.epoch, score=math.nan)
        if number == 2:
            return Failure("out_of_memory", "tried to allocate 9 GiB")
        if (number == 3 and attempt < 3) or number == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().result(number, attempt)
