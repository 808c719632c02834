"""What to try next: Optuna's TPE, asked so that the answer is a function of the journal alone."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

RANDOM_TRIALS = 10  # Optuna's default: TPE models nothing before that many trials are finished


def suggest(
    storage: BaseStorage, study_name: str, distributions: dict[str, BaseDistribution], *, number: int, seed: int
) -> dict[str, Any]:
    """Parameters for the trial that will have `number`.

    Univariate and without constant liar: Optuna 5's own default (multivariate) did no better than random search under
    ASHA on a public learning-curve benchmark. The sampler is made anew each time, seeded by (seed, number), so that a
    resumed search suggests what the uninterrupted one would have.
    """
    trial_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    sampler = TPESampler(multivariate=False, constant_liar=False, n_startup_trials=RANDOM_TRIALS, seed=trial_seed)
    # A new handle each time: a `Study` keeps the trials that its samplers saw first; only `ask` makes it look again.
    study = optuna.load_study(study_name=study_name, storage=storage)
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
    return {name: sampler.sample_independent(study, trial, name, spec) for name, spec in distributions.items()}
