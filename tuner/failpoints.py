"""Named moments at which a test can kill the process: before and after each step that leaves something behind.

`TUNER_FAILPOINT=NAME` kills this process by SIGKILL when it first reaches NAME, `NAME:3` the third time. No clean-up
runs, as with a machine that loses its power.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "TUNER_FAILPOINT"

DRIVER_STEPS = (
    "lease-taken",
    "life-written",
    "trials-wanted-written",
    "epochs-added",
    "trial-created",
    "trial-relaunched",
    "report-committed",
    "failure-committed",
    "loss-committed",
    "checkpoints-discarded",
    "lease-released",
)
# Of a driver that confirms and does not search.
CONFIRMING = ("before-confirmations-added", "after-confirmations-added")
# The report is in the journal, and what the driver remembers of it is not yet, or just, brought up to it.
DRIVER = (*(f"{when}-{step}" for step in DRIVER_STEPS for when in ("before", "after")), "after-report-folded")
WORKER = ("before-checkpoint-renamed", "after-checkpoint-renamed", "between-best-and-last-checkpoint")
NAMES = frozenset((*DRIVER, *CONFIRMING, *WORKER))

_armed, _, _count = os.environ.get(VARIABLE, "").partition(":")
_left = int(_count or 1)


def reach(name: str) -> None:
    """Die here if `TUNER_FAILPOINT` says so. `name` is one of `NAMES`."""
    assert name in NAMES, f"{name!r} is not in the table of failpoints"
    global _left
    if name == _armed:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def durable(step: str) -> Iterator[None]:
    """The block does one of `DRIVER_STEPS`: a failpoint before it, and one after it unless it raises."""
    reach(f"before-{step}")
    yield
    reach(f"after-{step}")
