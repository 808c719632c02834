"""Trials that confirm others: the same configuration with another seed. To the search they are not there.

They are ordinary trials of the journal with the attribute `confirms`: a number and so a training seed of their own,
checkpoints, attempts. They meet no rung, count among no trials wanted, and no sampler sees them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial

from tuner import failpoints
from tuner.confirmed import Confirmation, Runs, runs_for
from tuner.store.journal import Journal
from tuner.study import TrialRecord

if TYPE_CHECKING:
    from tuner.search.trials import Trials


def add_runs(
    trials: Trials, journal: Journal, records: Iterable[TrialRecord], max_epochs: int, wanted: Confirmation
) -> Runs:
    """Create the runs that `wanted` misses, in one append; which ones there were before, and for whom the new ones
    are, in the order of their numbers.

    records: of all trials.
    """
    runs = runs_for(records, trials.spec.direction, max_epochs, wanted)
    with failpoints.durable("confirmations-added"), journal.transition():
        for origin in runs.missing:
            trials.add(origin.params, attempt=0, life=0, max_epochs=max_epochs, confirms=origin.number)
    return runs


def searched(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials without those that confirm others, numbered as if there had never been any.

    So that a study that was confirmed and goes on is searched as it would have been. Not to be changed.
    """
    own: list[FrozenTrial] = []
    for trial in trials:
        if "confirms" in trial.user_attrs:
            continue
        if trial.number != len(own):
            trial = copy.copy(trial)
            trial.number = len(own)
        own.append(trial)
    return own
