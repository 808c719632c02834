"""What a search will take: the trials that ASHA lets through each rung, their epochs, and the hours of workers."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, replace

from tuner import asha
from tuner.spec import StudySpec


@dataclass(frozen=True)
class Stretch:
    """Epochs between two comparisons. begins, ends: epochs trained before and after. trials: expected to train them."""

    begins: int
    ends: int
    trials: float

    @property
    def epochs(self) -> float:
        """Expected epochs of all trials together."""
        return self.trials * (self.ends - self.begins)


@dataclass(frozen=True)
class Forecast:
    """stretches: from the first epoch to the last. epoch_s: seconds of an epoch. at_once: trials at once."""

    stretches: tuple[Stretch, ...]
    epoch_s: float
    at_once: int

    @property
    def epochs(self) -> float:
        """Expected epochs of the whole search."""
        return sum(stretch.epochs for stretch in self.stretches)

    @property
    def worker_s(self) -> float:
        """Seconds of all workers together."""
        return self.epochs * self.epoch_s

    @property
    def wall_s(self) -> float:
        """Seconds from the first to the last epoch, if no worker is ever idle; never less than one whole trial."""
        return max(self.worker_s / max(1, self.at_once), self.stretches[-1].ends * self.epoch_s)


def forecast(spec: StudySpec, epoch_s: float, at_once: int) -> Forecast:
    """What `spec` will take if an epoch lasts `epoch_s` seconds on average and no trial ends but by ASHA."""
    stretches = []
    begins, trials = 0, float(spec.trials)
    for ends in (*spec.rungs(), spec.max_epochs):
        stretches.append(Stretch(begins, ends, trials))
        begins, trials = ends, _going_on(trials, spec)
    return Forecast(tuple(stretches), epoch_s, at_once)


def trials_within(spec: StudySpec, epochs: float, most: int = 10_000) -> int:
    """The largest number of trials, at most `most`, that are expected to take no more than so many epochs in all."""
    return bisect.bisect(
        range(1, most + 1), epochs, key=lambda trials: forecast(replace(spec, trials=trials), 1, 1).epochs
    )


def _going_on(arrivals: float, spec: StudySpec) -> float:
    """Of the trials that arrive at a rung. By promotion it is known, and somebody is promoted in the end."""
    if spec.asha == "promote":
        return float(max(1, asha.promoted(int(arrivals), spec.reduction_factor)))
    return expected_to_go_on(arrivals, spec.reduction_factor)


def expected_to_go_on(arrivals: float, reduction_factor: int) -> float:
    """How many of the trials that arrive at a rung one after the other `tuner.asha.decide` is expected to let through.

    For scores in random order: the first goes on; the one with p peers before it has to reach the value at position
    (1 - 1/eta) (p - 1) of them in ascending order, for which the chance is (1 + (p - 1) / eta) / (p + 1). In sum that
    is more than a share of 1/eta: who comes early meets few peers. A part of a trial counts for that part.
    """
    whole = int(arrivals)
    passed = sum(_chance(peers, reduction_factor) for peers in range(whole))
    return passed + (arrivals - whole) * _chance(whole, reduction_factor)


def _chance(peers: int, reduction_factor: int) -> float:
    return 1.0 if peers == 0 else (1.0 + (peers - 1) / reduction_factor) / (peers + 1)
