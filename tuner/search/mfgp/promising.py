"""The search for the configuration with the highest expected improvement by the model."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial
from scipy.special import ndtr
from threadpoolctl import ThreadpoolController

from tuner.search.mfgp.encoding import Encoding
from tuner.search.mfgp.gaussian import Observations, Posterior, fit
from tuner.search.mfgp.observed import Seen, normal_scores, thinned

Array = NDArray[np.float64]

FITTED = 96  # observations at most from which the hyperparameters are estimated
USED = 200  # observations at most from which scores are predicted
PENDING = 64  # running trials at most whose expected scores are taken as seen, the newest ones
# How the best configuration by the model is sought: first anywhere and near the best ones that were tried, then ever
# closer to the best that were found.
_ANYWHERE = 200
_NEAR = 200
_LEADERS = 8
_CLOSER = (0.2, 0.1, 0.05)
_CLIMBERS = 6
_STEPS = 60


def most_promising(
    encoding: Encoding,
    trials: Sequence[FrozenTrial],
    seen: Seen,
    draw: np.random.Generator,
    given: Mapping[str, Any],
) -> Array:
    """The unit row with the highest expected improvement that is found. trials: those of the rows of `seen`; given:
    values that it has whatever the model says."""
    fitted, used, pending = thinned(seen, FITTED), thinned(seen, USED), seen.unfinished[-PENDING:]
    known = np.unique(np.concatenate([seen.rows[fitted], seen.rows[used], pending]))
    units = encoding.units([trials[row].params for row in known])
    features = encoding.features(units)
    scores = normal_scores(seen.scores)

    def observations(chosen: NDArray[np.int64]) -> Observations:
        places = np.searchsorted(known, seen.rows[chosen])
        return Observations(features[places], seen.shares[chosen], scores[chosen])

    posterior = Posterior(fit(observations(fitted), encoding.owners), observations(used))
    means = posterior.mean(features, np.ones(len(known)))
    running = features[np.searchsorted(known, pending)]
    posterior = posterior.expecting(running, np.ones(len(running)))
    best = float(means.max())

    def gains(rows: Array) -> Array:
        mean, deviation = posterior.mean_and_deviation(encoding.features(rows), np.ones(len(rows)))
        return expected_improvement(mean, deviation, best)

    leaders = units[np.argsort(-means, kind="stable")[:_LEADERS]]
    anywhere = draw.random((_ANYWHERE, len(encoding.names)))
    found = encoding.possible(np.concatenate([anywhere, _near(leaders, _NEAR, 0.3, draw)]), given)
    gain = gains(found)
    for distance in _CLOSER:
        climbers = np.argsort(-gain, kind="stable")[:_CLIMBERS]
        more = encoding.possible(_near(found[climbers], _STEPS, distance, draw), given)
        found = np.concatenate([found[climbers], more])
        gain = np.concatenate([gain[climbers], gains(more)])
    return np.asarray(found[int(np.argmax(gain))])


def _near(leaders: Array, count: int, distance: float, draw: np.random.Generator) -> Array:
    """`count` unit rows, each one of `leaders` with some of its dimensions changed, most by up to about `distance`."""
    near = leaders[draw.integers(len(leaders), size=count)]
    near = np.where(np.isnan(near), draw.random(near.shape), near)
    steps = np.exp(draw.uniform(np.log(distance / 10), np.log(distance), (count, 1)))
    moved = np.clip(near + steps * draw.standard_normal(near.shape), 0.0, 1.0)
    changed = draw.random(near.shape) < draw.choice([0.2, 0.5, 1.0], size=(count, 1))
    # A choice has no neighbours: some values are drawn anew.
    anew = draw.random(near.shape) < 0.1
    return np.where(changed, np.where(anew, draw.random(near.shape), moved), near)


def expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Of normally distributed scores over `best` (Jones et al. 1998, eq. 15)."""
    z = (mean - best) / deviation
    return np.asarray(deviation * (z * ndtr(z) + np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)))


@functools.cache
def blas() -> ThreadpoolController:
    """Of the libraries that are loaded by now: SciPy's too, for it is imported here."""
    return ThreadpoolController()
