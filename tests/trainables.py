"""Trainables that train nothing, for tests of the driver: what a trial scores is a function of its number and epoch."""

from __future__ import annotations

import math
import os
import signal
import time
from abc import abstractmethod
from pathlib import Path
from typing import Any

import ray
from ray import tune

from tuner.exchange import Assignment, Failure, Report
from tuner.retention import trial_folder
from tuner.spec import StudySpec
from tuner.training.checkpoint_ref import CheckpointRef


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


class Together(Scripted):
    """An epoch does not begin before as many processes have started as are `wanted`."""

    def setup(self, config: dict[str, Any], **arguments: Any) -> None:
        super().setup(config, **arguments)
        Path(f"{self.ledger}.{os.getpid()}.started").touch()

    @abstractmethod
    def wanted(self) -> int:
        """The number of processes."""

    def step(self) -> dict[str, Any]:
        deadline_s = time.monotonic() + 60
        ledger = Path(self.ledger)
        while len(list(ledger.parent.glob(f"{ledger.name}.*.started"))) < self.wanted():
            assert time.monotonic() < deadline_s, "the process did not start"
            time.sleep(0.05)
        return super().step()


class FourTogether(Together, Slow):
    """Its first epochs last until four processes are there, as real ones last longer than the start of a process."""

    def wanted(self) -> int:
        return 4


class Crowd(Scripted):
    """Notes in the ledger's folder which machine each process runs on; an epoch ends once `crowd` has a larger number.

    So a test can look at how many run at once, and where.
    """

    def setup(self, config: dict[str, Any], **arguments: Any) -> None:
        super().setup(config, **arguments)
        node = ray.get_runtime_context().get_node_id()
        (Path(self.ledger).parent / f"{os.getpid()}.at").write_text(node)

    def step(self) -> dict[str, Any]:
        deadline_s = time.monotonic() + 100
        crowd = Path(self.ledger).parent / "crowd"
        while int(crowd.read_text() or 0) <= self.epoch:
            assert time.monotonic() < deadline_s, "the test did not let this epoch end"
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


class Saving(Scripted):
    """Leaves a checkpoint file for each epoch, and an attempt goes on after the one that it is given."""

    def setup(self, config: dict[str, Any], spec_json: str = "", cache: str = "", **arguments: Any) -> None:
        super().setup(config, spec_json=spec_json, cache=cache, **arguments)
        self.spec = StudySpec.from_json(spec_json)

    def result(self, number: int, attempt: int) -> Report | Failure:
        score = scripted_score(number, self.epoch)
        folder = trial_folder(self.spec.storage, self.spec.name, number) / f"attempt-{attempt}"
        folder.mkdir(parents=True, exist_ok=True)
        saved = []
        for kind in ("epoch", "best"):
            path = folder / f"{kind}-{self.epoch:04d}.safetensors"
            path.write_text("nothing")
            saved.append(CheckpointRef(str(path), "0" * 64, self.epoch, score))
        return Report(
            epoch=self.epoch, score=score, seconds=0.01, worker=f"pid:{os.getpid()}", checkpoint=saved[0], best=saved[1]
        )


class SlowlySaving(Slow, Saving):
    """Both."""


class Gathering(Together, SlowlySaving):
    """Its epochs wait until as many processes have started as `LEDGER.processes` says."""

    def wanted(self) -> int:
        return int(Path(f"{self.ledger}.processes").read_text() or 0)  # it may just be written anew


class Eventful(Saving):
    """Trial 5 reports NaN, trial 6 kills its first two workers."""

    def result(self, number: int, attempt: int) -> Report | Failure:
        if number == 5:
            return Report(epoch=self.epoch, score=math.nan)
        if number == 6 and attempt <= 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().result(number, attempt)


class Unlucky(Saving):
    """In their second epoch trial 1 loses its worker, trial 2's worker hangs and trial 4's CUDA breaks, once each.

    Trial 3's worker hangs in each attempt. A hanging worker is a stopped process: it neither reports nor ends.
    """

    def result(self, number: int, attempt: int) -> Report | Failure:
        if self.epoch == 2 and attempt == 1 and number in (1, 2, 4):
            if number == 4:
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            os.kill(os.getpid(), signal.SIGKILL if number == 1 else signal.SIGSTOP)
        if number == 3:
            os.kill(os.getpid(), signal.SIGSTOP)
        return super().result(number, attempt)


class BadReset(Saving):
    """Giving a warm worker trial 2 or 3 goes wrong; a new worker takes them. Trials 6 and 7 wait for each other."""

    two_together = True

    def setup(self, config: dict[str, Any], **arguments: Any) -> None:
        self.warm = False
        super().setup(config, **arguments)
        self.warm = True

    def reset_config(self, config: dict[str, Any]) -> bool:
        if self.warm and config["number"] in (2, 3):
            self.go_wrong()
        return super().reset_config(config)

    @abstractmethod
    def go_wrong(self) -> None:
        """What happens instead of taking the trial."""

    def step(self) -> dict[str, Any]:
        number = self.assignment.number
        if self.two_together and number >= 6:
            Path(f"{self.ledger}.{number}").touch()
            deadline_s = time.monotonic() + 30
            while not Path(f"{self.ledger}.{13 - number}").exists():
                assert time.monotonic() < deadline_s, "the other of two slots is not there"
                time.sleep(0.05)
        return super().step()


class DiesInReset(BadReset):
    """Its process ends."""

    def go_wrong(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class RaisesInReset(BadReset):
    """An exception, after which Tune thinks that the process is still good."""

    def go_wrong(self) -> None:
        raise OSError("no space left on device")


class HangsInReset(BadReset):
    """It never ends. Nobody waits for anybody, for whoever waits makes no progress either."""

    two_together = False

    def go_wrong(self) -> None:
        time.sleep(3600)
