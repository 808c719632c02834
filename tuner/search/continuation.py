"""Which complete trials are trained longer when the maximum of epochs is raised."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from tuner import failpoints
from tuner.judging import ranked
from tuner.search.trials import Trials
from tuner.spec import Standing, StudySpec
from tuner.store.journal import Journal
from tuner.study import MAX_EPOCHS


def add_continuations(trials: Trials, journal: Journal, max_epochs: int) -> int:
    """Raise the epochs of a complete trial, and create the trials that continue the best complete ones, in one append;
    how many there are."""
    chosen = chosen_to_continue(trials.spec, trials.all())
    with failpoints.durable("epochs-added"), journal.transition():
        trials.study.set_user_attr(MAX_EPOCHS, max_epochs)
        for origin in chosen:
            trials.add(
                origin.params,
                attempt=0,
                life=0,
                max_epochs=max_epochs,
                continues=origin.number,
                continued_from=origin.user_attrs["checkpoint"]["epoch"],
                checkpoint=origin.user_attrs["checkpoint"],
            )
    return len(chosen)


def chosen_to_continue(spec: StudySpec, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The best of the complete trials, best first: one in `reduction_factor` of them, rounded up.

    Those that were continued before are represented by the trial that did so. A trial without a checkpoint of its last
    epoch is not chosen: nothing could go on from there. Nor is one that confirms another, nor one that ended on a
    plateau: its maximum did not end it, so a higher one would change nothing. Of equal trials the lowest number goes
    first.
    """
    continued = {trial.user_attrs.get("continues") for trial in trials}
    complete = [
        trial
        for trial in trials
        if trial.state == TrialState.COMPLETE
        and trial.number not in continued
        and "confirms" not in trial.user_attrs
        and "reason" not in trial.user_attrs
        and (trial.user_attrs.get("checkpoint") or {}).get("epoch") == trial.last_step
    ]
    by_number = {trial.number: trial for trial in complete}
    best = ranked(spec, {number: _standing(spec, trial) for number, trial in by_number.items()})
    return [by_number[number] for number in best[: math.ceil(len(complete) / spec.reduction_factor)]]


def _standing(spec: StudySpec, trial: FrozenTrial) -> Standing:
    assert trial.values is not None, "a complete trial has values"
    return spec.standing(trial.values[0], trial.user_attrs.get("costs", {}))
