"""What a study has seen so far, as the Gaussian process is given it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """The observations of some trials; each is the score of one trial at one level.

    rows: int64 N, the place of the trial among those given. shares: float64 N, of the logarithm of the last level's
    epochs: 0 for epoch 1, 1 for the last. scores: float64 N, finite, higher is better.
    unfinished: int64, places of the trials that run and have no score at the last level.
    """

    rows: NDArray[np.int64]
    shares: Array
    scores: Array
    unfinished: NDArray[np.int64]


def observe(trials: Sequence[FrozenTrial], levels: Sequence[int], sign: float) -> Seen:
    """Scores at `levels` (epochs, ascending) of trials in any state.

    A complete trial has its last score at the last level, whenever it ended; without any, its value. Another one that
    reported at no level counts at the last epoch that it reported. A failed one has the worst score of all at the last
    level: what fails is not to be tried again. sign: 1 if higher is better, else -1.
    """
    rows: list[int] = []
    epochs: list[int] = []
    scores: list[float] = []
    failed: list[int] = []
    unfinished: list[int] = []
    for row, trial in enumerate(trials):
        found = {level: trial.intermediate_values[level] for level in levels if level in trial.intermediate_values}
        if trial.state == TrialState.COMPLETE and levels[-1] not in found:
            last = trial.last_step
            found[levels[-1]] = trial.values[0] if last is None else trial.intermediate_values[last]
        elif not found and trial.last_step is not None:
            found[trial.last_step] = trial.intermediate_values[trial.last_step]
        if trial.state == TrialState.FAIL:
            failed.append(row)
        elif not trial.state.is_finished() and levels[-1] not in found:
            unfinished.append(row)
        for level, score in found.items():
            if math.isfinite(score):
                rows.append(row)
                epochs.append(level)
                scores.append(sign * score)
    if scores:
        rows += failed
        epochs += [levels[-1]] * len(failed)
        scores += [min(scores)] * len(failed)
    span = math.log(levels[-1]) or 1.0
    return Seen(
        np.array(rows, np.int64),
        np.log(np.array(epochs, np.float64)) / span,
        np.array(scores, np.float64),
        np.array(unfinished, np.int64),
    )


def normal_scores(scores: Array) -> Array:
    """What normal deviates of the same ranks would be (Blom 1958): the shape of a metric's scale is not looked at.

    Equal scores share the mean of their ranks. Mean 0; variance 1 but for few or equal scores.
    """
    from scipy.special import ndtri  # SciPy takes long to import, and is not needed for the first trials

    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return np.asarray(ndtri((ranks - 0.375) / (len(scores) + 0.25)))


def thinned(seen: Seen, limit: int) -> NDArray[np.int64]:
    """At most `limit` places of observations that tell most about the best configurations, ascending: half of them the
    best ones, those of higher levels first; the other half evenly spread over the rest in the order of trials."""
    count = len(seen.scores)
    if count <= limit:
        return np.arange(count)
    by_merit = np.lexsort((-seen.scores, -seen.shares))
    best = by_merit[: limit // 2]
    rest = np.setdiff1d(np.arange(count), best)
    spread = rest[np.linspace(0, len(rest) - 1, limit - len(best)).round().astype(np.int64)]
    return np.sort(np.concatenate([best, spread]))
