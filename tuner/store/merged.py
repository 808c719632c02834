"""A journal made short for whoever replays it once, from its beginning.

Optuna copies a trial for each entry that changes it, and a study of 10,000 trials has half a million of them. Here the
scores and attributes of a trial stand in the entry that creates it, as they do when a trial is created whole; the
replay then ends with the same trials, in a third of the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial

# Of `optuna.storages.journal._storage.JournalOperation` (Optuna 5.0); a test compares them.
CREATE_STUDY, DELETE_STUDY, SET_STUDY_ATTRIBUTE = 0, 1, 2
CREATE_TRIAL, SET_STATE, SET_SCORE, SET_ATTRIBUTE = 4, 6, 7, 8
FINISHED = (1, 2, 3)  # optuna.trial.TrialState: complete, pruned, failed


class Readable(Protocol):
    """As much of a journal as it takes to read it."""

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """The entries from there on."""


class MergedJournal(BaseJournalBackend):
    """What `journal` holds when it is first read, and nothing that comes later. Raises what its `read_logs` does."""

    def __init__(self, journal: Readable) -> None:
        self._journal = journal

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        """All entries, merged, the first time; then none. Called by Optuna."""
        if log_number_from:
            return []
        return merged(list(self._journal.read_logs(0)))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Nobody writes to a copy."""
        raise AssertionError(f"{len(logs)} entries were appended to a journal that is only read")


def replay(name: str, journal: Readable) -> tuple[list[FrozenTrial], dict[str, Any]]:
    """The trials and the attributes of study `name` as Optuna reads them; none if its driver has not written yet.

    To be called within `tuner.store.journal.replaying` and `no_collection`.
    """
    storage = JournalStorage(MergedJournal(journal))
    try:
        study_id = storage.get_study_id_from_name(name)
    except KeyError:
        return [], {}
    return storage.get_all_trials(study_id, deepcopy=False), storage.get_study_user_attrs(study_id)


def merged(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries of one study, those of a trial's scores and attributes within the one that creates it; they are
    changed in place. What is not as this program writes it stays as it is, for Optuna to judge."""
    if not _is_of_one_study(entries):
        return entries
    kept: list[dict[str, Any]] = []
    trials: list[dict[str, Any] | None] = []  # by id; None: it has ended, and Optuna accepts nothing more
    for entry in entries:
        code = entry.get("op_code")
        if code == CREATE_TRIAL:
            trials.append(None if entry.get("state") in FINISHED else entry)
        elif code in (SET_SCORE, SET_ATTRIBUTE, SET_STATE):
            number = entry.get("trial_id")
            trial = trials[number] if type(number) is int and 0 <= number < len(trials) else None
            if code == SET_STATE:
                if trial is not None and entry.get("state") in FINISHED:
                    trials[number] = None  # type: ignore[index]
            elif trial is not None and _merge(trial, entry, code):
                continue
        kept.append(entry)
    return kept


def replayable(
    first: dict[str, Any],
    attributes: Mapping[str, Any],
    created: Sequence[dict[str, Any] | None],
    new: Sequence[dict[str, Any]],
) -> list[dict[str, Any]]:
    """A journal of the study that entry `first` creates, with these attributes and trials, and then the `new` entries.

    created: the entry that creates each trial as it is; None for one that is over, of which just the number matters:
    Optuna takes nothing more for it, and a failed trial stands in its place. Raises ValueError for entries that depend
    on more than that, or are of other studies; this program writes none.
    """
    gone = {"op_code": CREATE_TRIAL, "worker_id": "", "study_id": 0, "state": FINISHED[-1], "datetime_start": None}
    trials = [gone if entry is None else entry for entry in created]
    known = (CREATE_STUDY, CREATE_TRIAL, SET_STUDY_ATTRIBUTE, SET_STATE, SET_SCORE, SET_ATTRIBUTE)
    about_study = {"op_code": SET_STUDY_ATTRIBUTE, "worker_id": "", "study_id": 0}
    entries = [first, *({**about_study, "user_attr": {key: value}} for key, value in attributes.items()), *trials, *new]
    if (
        any(entry.get("op_code") != CREATE_TRIAL for entry in trials)
        or any(entry.get("op_code") not in known for entry in new)
        or not _is_of_one_study(entries)
    ):
        raise ValueError("entries of another program")
    return entries


def _is_of_one_study(entries: list[dict[str, Any]]) -> bool:
    """Whether the ids of trials are their places among the entries that create one."""
    if not entries or entries[0].get("op_code") != CREATE_STUDY:
        return False
    # Each driver would create the study, and Optuna takes no notice of the second time.
    again = {key: entries[0].get(key) for key in ("op_code", "study_name", "directions")}
    others = any(
        entry.get("op_code") in (CREATE_STUDY, DELETE_STUDY) and not again.items() <= entry.items()
        for entry in entries[1:]
    )
    created = (entry for entry in entries if entry.get("op_code") == CREATE_TRIAL)
    return not others and all(entry.get("study_id") == 0 for entry in created)


def _merge(trial: dict[str, Any], entry: dict[str, Any], code: int) -> bool:
    """Take an entry into the one that creates its trial; False if it is not one of ours."""
    if code == SET_ATTRIBUTE:
        attribute = entry.get("user_attr")
        if not isinstance(attribute, dict) or len(attribute) != 1:
            return False
        into, more = trial.setdefault("user_attrs", {}), attribute
    else:
        step = entry.get("step")
        if type(step) is not int or "intermediate_value" not in entry:
            return False
        into, more = trial.setdefault("intermediate_values", {}), {step: entry["intermediate_value"]}
    if not isinstance(into, dict):
        return False
    into.update(more)
    return True
