"""The sampler: what to try next, by expected improvement of the score after a full training."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial
from scipy.special import ndtr
from threadpoolctl import ThreadpoolController

from tuner.search.mfgp.encoding import Encoding
from tuner.search.mfgp.gaussian import Observations, Posterior, fit
from tuner.search.mfgp.observed import Seen, normal_scores, observe, thinned

Array = NDArray[np.float64]

RANDOM_TRIALS = 8  # trials that have reported at a level, before the model is asked
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


class MultiFidelityGPSampler(BaseSampler):
    """One Gaussian process over configuration and epoch together, in the manner of MOBSTER (Klein et al. 2020,
    "Model-based Asynchronous Hyperparameter and Neural Architecture Search").

    It learns from the scores that trials reported at `levels`, epochs of which the last is a full training: also from
    trials that were stopped early or still run. These count at the last level with their expected score, so that
    nothing is tried twice at once.

    A suggestion is a function of the study's trials, the number of the new one and `seed`, which are not negative. On
    other processors or with other versions of NumPy and SciPy it may be another one: sums are rounded differently.

    only_if: see `Encoding`. given: values that the suggestions have, whatever the model says.
    """

    def __init__(
        self,
        levels: Sequence[int],
        *,
        seed: int = 0,
        only_if: Mapping[str, Mapping[str, Sequence[Any]]] | None = None,
        given: Mapping[str, Any] | None = None,
    ) -> None:
        self._levels = sorted(set(levels))
        self._seed = seed
        self._only_if = only_if
        self._given = given or {}
        self._random = RandomSampler(seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        """All dimensions that a trial has had, in the order of their first appearance."""
        space: dict[str, BaseDistribution] = {}
        for past in study.get_trials(deepcopy=False):
            space |= past.distributions
        return space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A value for each dimension of `search_space` that exists. Raises ValueError for several objectives."""
        self._raise_error_if_multi_objective(study)
        if not search_space:
            return {}
        encoding = Encoding(search_space, self._only_if)
        draw = np.random.default_rng([self._seed, trial.number])
        trials = [past for past in study.get_trials(deepcopy=False) if past.number != trial.number]
        seen = observe(trials, self._levels, 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0)
        if len(np.unique(seen.rows)) < RANDOM_TRIALS:
            return encoding.params(encoding.possible(draw.random((1, len(encoding.names))), self._given)[0])
        # Sums over several threads are rounded by their number, and such small ones are slower for it.
        with _blas().limit(limits=1, user_api="blas"):
            return encoding.params(self._most_promising(encoding, trials, seen, draw))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """At random: for a dimension that no trial has had yet."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _most_promising(
        self, encoding: Encoding, trials: Sequence[FrozenTrial], seen: Seen, draw: np.random.Generator
    ) -> Array:
        """The unit row with the highest expected improvement that is found."""
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
        found = encoding.possible(np.concatenate([anywhere, _near(leaders, _NEAR, 0.3, draw)]), self._given)
        gain = gains(found)
        for distance in _CLOSER:
            climbers = np.argsort(-gain, kind="stable")[:_CLIMBERS]
            more = encoding.possible(_near(found[climbers], _STEPS, distance, draw), self._given)
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
def _blas() -> ThreadpoolController:
    return ThreadpoolController()
