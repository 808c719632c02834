"""What to try next: Optuna's TPE, asked so that the answer is a function of the spec and the journal alone."""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuner.configurations import exists, in_drawing_order
from tuner.evidence import Evidence
from tuner.search.confirmation import searched

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from tuner.space import Space

RANDOM_TRIALS = 10  # Optuna's default: TPE models nothing before that many trials are finished


class StudyWithEvidence(optuna.Study):
    """A study whose samplers see the trials of an earlier one before its own: older, and so weighing less to TPE.

    Trials that wait at a rung are pruned ones to them: most will never go on, and what runs teaches TPE nothing. Made
    anew for each suggestion, and shows the trials as they were then: it does not look at the storage again, so that
    another thread may ask for the suggestion.
    """

    def __init__(self, study_name: str, storage: BaseStorage, evidence: Sequence[FrozenTrial]) -> None:
        super().__init__(study_name, storage)
        self._evidence = evidence
        self._own = super()._get_trials(deepcopy=False)
        self._known: list[FrozenTrial] | None = None

    def _get_trials(
        self,
        deepcopy: bool = True,  # noqa: ARG002 - Optuna passes it by name
        states: Container[TrialState] | None = None,
        use_cache: bool = False,  # noqa: ARG002 - likewise
    ) -> list[FrozenTrial]:
        # Optuna has no public way to give a sampler trials that are not in the study. This is what all samplers call.
        if self._known is None:
            self._known = [*self._evidence, *map(_as_pruned_if_paused, searched(self._own))]
        return [trial for trial in self._known if states is None or trial.state in states]


def _as_pruned_if_paused(trial: FrozenTrial) -> FrozenTrial:
    if trial.state != TrialState.RUNNING or not trial.user_attrs.get("paused"):
        return trial
    pruned = copy.copy(trial)
    pruned.state = TrialState.PRUNED
    return pruned


def evidence_trials(evidence: Sequence[Evidence], distributions: Mapping[str, BaseDistribution]) -> list[FrozenTrial]:
    """The evidence as trials that ended, numbered ... -2, -1: sorted by number, they come before the study's own."""
    trials = []
    for number, known in enumerate(evidence, start=-len(evidence)):
        trial = create_trial(
            state=TrialState.COMPLETE if known.complete else TrialState.PRUNED,
            value=known.score,
            params=known.params,
            distributions={name: distributions[name] for name in known.params},
            intermediate_values={known.epoch: known.score},
        )
        trial.number = number
        trials.append(trial)
    return trials


def suggest(
    study: optuna.Study,
    space: Space,
    distributions: Mapping[str, BaseDistribution],
    *,
    number: int,
    seed: int,
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """Parameters for the trial that will have `number`, in the order of the space; what is `given` stays as it is.

    study: a new handle for each suggestion. A `Study` keeps the trials that its samplers saw first; only `ask` makes it
    look again.

    Univariate and without constant liar: Optuna 5's own default (multivariate) did no better than random search under
    ASHA on a public learning-curve benchmark. For a dimension that does not exist in all trials, it models those in
    which it does. The sampler is made anew each time, seeded by (seed, number), so that a resumed search suggests what
    the uninterrupted one would have.
    """
    trial_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    sampler = TPESampler(multivariate=False, constant_liar=False, n_startup_trials=RANDOM_TRIALS, seed=trial_seed)
    trial = FrozenTrial(
        number=number,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=datetime.now(),
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=number,
    )
    params = dict(given)
    for name in in_drawing_order(space.dimensions):
        if name not in params and exists(space.dimensions[name], params):
            params[name] = sampler.sample_independent(study, trial, name, distributions[name])
    return {name: params[name] for name in distributions if name in params}
