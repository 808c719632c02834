"""Asynchronous successive halving (ASHA; Li et al. 2018, "A System for Massively Parallel Hyperparameter Tuning",
algorithm 2): pure functions of numbers.

Libraries disagree about ties, first arrivals and NaN; the rules of this project are written in `decide`, for the form
that stops trials, and `ranked` and `promoted`, for the form that pauses and promotes them. Their table tests are
the specification.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuner.direction import Direction, sign_of

REDUCTION_FACTOR = 3  # by default, as the grace period: docs/search-quality.md


def default_grace_period(max_epochs: int) -> int:
    """Epochs that every trial trains before it can be stopped: a twelfth of `max_epochs`, at least 2."""
    return max(2, max_epochs // 12)


def rung_levels(max_epochs: int, grace_period: int, reduction_factor: int) -> tuple[int, ...]:
    """Epochs at which trials are compared: grace_period x reduction_factor^k below `max_epochs`, ascending.

    Symbols of the paper: R = max_epochs, r = grace_period, eta = reduction_factor. Empty when the grace period leaves
    no rung, in which case nothing is ever stopped early. Raises ValueError for numbers that make no rungs: a grace
    period below 1 or a reduction factor below 2.
    """
    if grace_period < 1 or reduction_factor < 2:
        raise ValueError(f"{grace_period=} must be at least 1 and {reduction_factor=} at least 2")
    levels = []
    level = grace_period
    while level < max_epochs:
        levels.append(level)
        level *= reduction_factor
    return tuple(levels)


@dataclass(frozen=True)
class Decision:
    """What ASHA says of one trial at one rung.

    rank: 1 is the best of the `peers` + 1 scores at the rung; equal scores share the better rank.
    cutoff: the score to reach; None for the first arrival, which has nothing to be compared with.
    layer: with several objectives, see `tuner.fronts`; there is no cutoff then, and equal layers share the rank.
    """

    go_on: bool
    rank: int
    peers: int
    cutoff: float | None
    layer: int | None = None

    def as_reason(self) -> dict[str, int | float | None]:
        """Why a trial was stopped, as the journal keeps it."""
        reason = {"rank": self.rank, "peers": self.peers, "cutoff": self.cutoff}
        return reason if self.layer is None else {**reason, "layer": self.layer}


def decide(score: float, peers: Sequence[float], reduction_factor: int, direction: Direction = "maximize") -> Decision:
    """Whether a trial goes on past a rung, from its score and the scores recorded at that rung before it.

    It goes on if its score is at least the (1 - 1/reduction_factor) percentile of `peers` (linear interpolation); a
    tie goes on, and so does the first arrival. Raises ValueError for a score or peer that is not finite: such a trial
    has failed, and its score belongs in no rung.
    """
    if not all(map(math.isfinite, (score, *peers))):
        raise ValueError(f"a rung holds finite scores only, got {score} among {list(peers)}")
    sign = sign_of(direction)
    rank = 1 + sum(sign * peer > sign * score for peer in peers)
    if not peers:
        return Decision(go_on=True, rank=rank, peers=0, cutoff=None)
    import numpy as np  # here, for commands that only look at a study would wait for it

    cutoff = sign * float(np.quantile(sign * np.asarray(peers, dtype=np.float64), 1.0 - 1.0 / reduction_factor))
    return Decision(go_on=sign * score >= sign * cutoff, rank=rank, peers=len(peers), cutoff=cutoff)


def ranked(scores: Mapping[int, float], direction: Direction = "maximize") -> list[int]:
    """The trials that have a score at a rung, by number, best first; of equal scores the lower number is the better."""
    sign = sign_of(direction)
    return sorted(scores, key=lambda number: (-sign * scores[number], number))


def promoted(arrived: int, reduction_factor: int) -> int:
    """How many of the best of those that `arrived` at a rung belong to the next one: |rung k| / eta, rounded down.

    Until `reduction_factor` trials have arrived nobody does.
    """
    return arrived // reduction_factor
