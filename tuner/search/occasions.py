"""When the suggestion for the next trial is made ahead, and how that moment is found again in the journal.

An occasion is the creation of a trial, for the next one must not be given the same; a change of the epochs, which are
the sampler's levels; the promotion of a trial; and, for the Gaussian process, that a trial has passed a rung. A rebuilt
search makes its first suggestion from what was known at the newest one, and so the one that it would have made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.storages.journal._storage import JournalOperation  # Optuna's own name for the operations; it has no other
from optuna.trial import TrialState

from tuner.search.trials import Trials
from tuner.store.entries import decode
from tuner.store.journal import Journal
from tuner.study import MAX_EPOCHS

_ENDED_AT_AN_EPOCH = (TrialState.COMPLETE, TrialState.PRUNED)


def passing_matters(trials: Trials, epoch: int) -> bool:
    """Whether that a trial goes on after this epoch is an occasion.

    TPE learns nothing from trials that run. The Gaussian process also learns from epochs before the first rung, but to
    suggest anew for these gained nothing. Where there are no rungs it has the epoch before the last, or with one worker
    it would know nothing of the trial before.
    """
    if trials.spec.sampler != "mfgp":
        return False
    *rungs, last = trials.levels
    return epoch in (rungs or [last - 1])


def entries_at_newest(trials: Trials, journal: Journal) -> int:
    """How many entries the journal had after the newest occasion; 0 if there was none."""
    for index in reversed(range(journal.length())):
        if _is_occasion(trials, decode(journal.text(index), index)):
            return index + 1
    return 0


def _is_occasion(trials: Trials, entry: Mapping[str, Any]) -> bool:
    operation = entry["op_code"]
    if operation == JournalOperation.CREATE_TRIAL:
        return "confirms" not in entry.get("user_attrs", {})
    if operation == JournalOperation.SET_STUDY_USER_ATTR:
        return MAX_EPOCHS in entry["user_attr"]
    if operation != JournalOperation.SET_TRIAL_USER_ATTR:
        return False
    ((key, value),) = entry["user_attr"].items()
    if key == "paused":
        return bool(value == 0)
    if not key.startswith("report:") or "over" in value:
        return False
    epoch, trial = int(key.removeprefix("report:")), trials[entry["trial_id"]]
    ended_there = trial.state in _ENDED_AT_AN_EPOCH and trial.last_step == epoch
    return "confirms" not in trial.user_attrs and not ended_there and passing_matters(trials, epoch)
