"""The worker of a search, which writes down when it reports and when it trains the first batch of a trial."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from tuner.worker import Worker

EVENTS = "SPEED_EVENTS"  # environment variable: the file of the events, a line of JSON each


def note(what: str, trial: int) -> None:
    """Append an event with the time of the machine's monotonic clock, which all its processes share."""
    event = {"what": what, "trial": trial, "pid": os.getpid(), "s": time.monotonic()}
    with Path(os.environ[EVENTS]).open("a") as file:
        file.write(json.dumps(event) + "\n")


class Watched(Worker):
    """Notes "batch" when the network gets the first training pictures of a trial, "report" when an epoch's result is
    handed to Ray."""

    def step(self) -> dict[str, Any]:
        """One epoch."""
        from torch.nn.modules.module import register_module_forward_pre_hook

        number = self._assignment.number
        if self._trainer is None:

            def first_batch(*_: object) -> None:
                hook.remove()
                note("batch", number)

            hook = register_module_forward_pre_hook(first_batch)
        result = super().step()
        note("report", number)
        return result
