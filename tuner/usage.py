"""What the attempts at a trial have occupied: a fold over the trial's attributes in the journal.

An attempt occupies its worker from the moment at which a process is there for it to its end: the start of the process,
epochs that a later attempt repeats, and the time in which a lost worker said nothing included. It is measured by the
driver's monotonic clock, which nobody sets. The driver writes how long it was with each report and, where an attempt
ends without one, at its end. If the driver dies, what its attempts did after their last report is not known: less than
an epoch, for no worker begins one before the driver has recorded the one before. `tuner.ledger` charges a whole one.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tuner.spec import Resources


@dataclass(frozen=True)
class Share:
    """What an attempt reserves: gpus, maybe a part of one, and whole CPU cores."""

    gpus: float
    cpus: int

    def part(self, part: float) -> Share:
        """With such a part of the GPUs."""
        return replace(self, gpus=self.gpus * part)

    @classmethod
    def of(cls, resources: Resources) -> Share:
        """As far as what was asked for tells it, before the machines are known."""
        return cls(0.0 if resources.gpus == 0 else 1.0 / resources.slots_per_gpu, 1)


@dataclass(frozen=True)
class Attempt:
    """seconds: from the first to the last that is known of. over: whether that is its end; else it runs, or nobody saw
    its end.
    """

    share: Share
    seconds: float
    over: bool


@dataclass(frozen=True)
class Usage:
    """attempts: in their order. epoch_s: median seconds between two reports; None before the first one."""

    attempts: tuple[Attempt, ...] = ()
    epoch_s: float | None = None

    def reported(self, used_s: float, epoch_s: float) -> Usage:
        """As it is after one more report of the last attempt, which took `epoch_s` if it is the first."""
        *earlier, last = self.attempts
        return Usage((*earlier, replace(last, seconds=used_s)), self.epoch_s or epoch_s)


def begun(share: Share) -> dict[str, Any]:
    """The attribute `attempt:<n>` of a trial when its attempt n is launched, JSON-able."""
    return {"gpus": share.gpus, "cpus": share.cpus}


def so_far(share: Share, used_s: float, *, over: bool) -> dict[str, Any]:
    """The same attribute where no report of a new epoch tells how long the attempt was."""
    return {**begun(share), "used_s": round(used_s, 3), **({"over": True} if over else {})}


def usage_of(
    attributes: Mapping[str, Any], reports: Mapping[int, Mapping[str, Any]], resources: Resources, *, finished: bool
) -> Usage:
    """Fold the attributes of a trial and what its reports said, by epoch, in ascending order.

    Attempts from before it was measured are told by the seconds that the worker spent on their epochs, with the share
    that follows from `resources`.
    """
    used_s: dict[int, float] = {}
    over: set[int] = set()
    durations: list[float] = []
    before: tuple[int, int, float] | None = None  # attempt, epoch and used_s of the report before
    for epoch, details in reports.items():
        attempt, seconds = details.get("attempt", 1), details.get("seconds", 0.0)
        reached_s = details.get("used_s", used_s.get(attempt, 0.0) + seconds)
        used_s[attempt] = reached_s
        if "used_s" not in details or "over" in details:
            over.add(attempt)
        follows = before is not None and before[:2] == (attempt, epoch - 1)
        durations.append(reached_s - before[2] if before is not None and follows else seconds)
        before = (attempt, epoch, reached_s)
    last = attributes.get("attempt", 0)
    if finished:
        over.add(last)
    attempts = []
    for number in range(1, last + 1):
        known = attributes.get(f"attempt:{number}", {})
        share = Share(known["gpus"], known["cpus"]) if known else Share.of(resources)
        ended = number in over or "over" in known or not known
        attempts.append(Attempt(share, max(used_s.get(number, 0.0), known.get("used_s", 0.0)), ended))
    return Usage(tuple(attempts), statistics.median(durations) if durations else None)
