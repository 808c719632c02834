"""The sampler: what to try next, by expected improvement of the score after a full training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from tuner.search.mfgp.encoding import Encoding
from tuner.search.mfgp.observed import Seen, observe

Array = NDArray[np.float64]

RANDOM_TRIALS = 8  # trials that have reported at a level, before the model is asked


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
        # SciPy takes a second, which the first trials need not wait for.
        from tuner.search.mfgp.promising import blas, most_promising

        # Sums over several threads are rounded by their number, and such small ones are slower for it.
        with blas().limit(limits=1, user_api="blas"):
            return most_promising(encoding, trials, seen, draw, self._given)
