"""The samplers that a study may have, by name; each gives a suggestion that is a function of spec and journal alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState, create_trial

from tuner.search import sampler as tpe
from tuner.search.mfgp.encoding import Encoding

if TYPE_CHECKING:
    import optuna

    from tuner.space import Space


def suggest(
    kind: str,
    study: optuna.Study,
    space: Space,
    distributions: Mapping[str, BaseDistribution],
    *,
    levels: Sequence[int],
    number: int,
    seed: int,
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """Parameters for the trial that will have `number`, in the order of the space; what is `given` stays as it is.

    kind: one of `tuner.spec.SAMPLERS`.
    study: a new handle for each suggestion, see `tuner.search.sampler.suggest`. levels: the rungs, and the epochs of a
    full training.
    """
    if kind == "tpe":
        return tpe.suggest(study, space, distributions, number=number, seed=seed, given=given)
    only_if = {name: table["only_if"] for name, table in space.dimensions.items() if "only_if" in table}
    if kind == "random":
        encoding = Encoding(distributions, only_if)
        draws = np.random.default_rng([seed, number]).random((1, len(encoding.names)))
        return encoding.params(encoding.possible(draws, given)[0])
    from tuner.search.mfgp.sampler import MultiFidelityGPSampler  # takes a second: scipy

    trial = create_trial(state=TrialState.RUNNING)
    trial.number = number
    model = MultiFidelityGPSampler(levels, seed=seed, only_if=only_if, given=given)
    return model.sample_relative(study, trial, dict(distributions))
