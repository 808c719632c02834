"""Which complete trials are trained longer when the maximum of epochs is raised."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from tuner.spec import StudySpec


def chosen_to_continue(spec: StudySpec, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The best of the complete trials, best first: one in `reduction_factor` of them, rounded up.

    Those that were continued before are represented by the trial that did so. A trial without a checkpoint of its last
    epoch is not chosen: nothing could go on from there. Nor is one that ended on a plateau: its maximum did not end it,
    so a higher one would change nothing. Of equal trials the lowest number goes first.
    """
    continued = {trial.user_attrs.get("continues") for trial in trials}
    complete = [
        trial
        for trial in trials
        if trial.state == TrialState.COMPLETE
        and trial.number not in continued
        and "reason" not in trial.user_attrs
        and (trial.user_attrs.get("checkpoint") or {}).get("epoch") == trial.last_step
    ]
    sign = 1.0 if spec.direction == "maximize" else -1.0

    def rank(trial: FrozenTrial) -> tuple[float, int]:
        assert trial.value is not None, "a complete trial has a value"
        return -sign * trial.value, trial.number

    return sorted(complete, key=rank)[: math.ceil(len(complete) / spec.reduction_factor)]
