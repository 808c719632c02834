"""The merged journal: a shorter replay that ends with the very same trials."""

from __future__ import annotations

import gc
import random

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState

from tests.factories import new_spec
from tuner.collection import no_collection
from tuner.exchange import Failure, Report
from tuner.search.record import StudyRecord
from tuner.store import merged
from tuner.store.journal import MemoryJournal
from tuner.store.merged import MergedJournal
from tuner.training.checkpoint_ref import CheckpointRef


def trials_of(journal):
    storage = JournalStorage(journal)
    return [vars(trial) for trial in storage.get_all_trials(storage.get_study_id_from_name("test"))]


def written(entries):
    journal = MemoryJournal()
    journal.append_logs(entries)
    return journal


@pytest.fixture
def search():
    """The journal of trials that were reported, stopped, failed, lost and left in flight, in a random order."""
    journal = MemoryJournal()
    record = StudyRecord(new_spec(trials=30), journal)
    draw = random.Random(0)
    epochs: dict[int, int] = {}
    for _ in range(40):
        if len(record.live) < 3:
            record.next_assignment()
        if not record.live:
            break
        assignment = record.live[draw.choice(list(record.live))]
        chance = draw.random()
        if chance < 0.1:
            record.report(assignment, Failure("diverged", "the loss is nan"))
        elif chance < 0.2:
            record.lose(assignment, "its process ended")
        else:
            epoch = epochs[assignment.number] = epochs.get(assignment.number, 0) + 1
            score = draw.random()
            saved = CheckpointRef(f"/s/epoch-{epoch}", "a" * 64, epoch, score)
            record.report(assignment, Report(epoch, score, checkpoint=saved, best=saved))
    assert {trial.state for trial in record.records()} >= {"running", "pruned", "failed"}
    return journal


def test_operations_and_states_have_optunas_numbers():
    names = ("CREATE_STUDY", "DELETE_STUDY", "CREATE_TRIAL")
    assert [getattr(merged, name) for name in names] == [JournalOperation[name] for name in names]
    assert merged.SET_STUDY_ATTRIBUTE == JournalOperation.SET_STUDY_USER_ATTR
    changes = (merged.SET_STATE, merged.SET_SCORE, merged.SET_ATTRIBUTE)
    assert changes == (
        JournalOperation.SET_TRIAL_STATE_VALUES,
        JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE,
        JournalOperation.SET_TRIAL_USER_ATTR,
    )
    assert {state for state in TrialState if state.is_finished()} == set(merged.FINISHED)


def test_a_merged_search_has_the_same_trials_in_far_fewer_entries(search):
    assert trials_of(MergedJournal(search)) == trials_of(search)
    assert len(MergedJournal(search).read_logs(0)) < 0.4 * search.length()


def test_a_search_that_was_resumed_is_merged_too(search):
    StudyRecord(new_spec(trials=30), search).next_assignment()
    assert trials_of(MergedJournal(search)) == trials_of(search)
    assert len(MergedJournal(search).read_logs(0)) < 0.4 * search.length()


def test_what_comes_after_a_trials_end_is_not_taken_into_it(search):
    entries = search.read_logs(0)
    ended = next(entry for entry in entries if entry.get("state") == TrialState.PRUNED)
    late = [
        {"op_code": merged.SET_SCORE, "trial_id": ended["trial_id"], "step": 9, "intermediate_value": 1.0},
        {"op_code": merged.SET_ATTRIBUTE, "trial_id": ended["trial_id"], "user_attr": {"late": True}},
    ]
    journal = written([*entries, *({**entry, "worker_id": "somebody"} for entry in late)])
    assert trials_of(MergedJournal(journal)) == trials_of(journal) == trials_of(search)


def test_trials_as_plain_optuna_writes_them_are_the_same():
    journal = MemoryJournal()
    study = optuna.create_study(storage=JournalStorage(journal), study_name="test")
    study.enqueue_trial({"x": 0.5})
    for _ in range(3):
        trial = study.ask()
        trial.report(trial.suggest_float("x", 0, 1), 1)
        trial.set_user_attr("why", "because")
        study.tell(trial, trial.params["x"])
    study.add_trial(optuna.trial.create_trial(state=TrialState.COMPLETE, value=1.0, intermediate_values={2: 1.0}))
    assert trials_of(MergedJournal(journal)) == trials_of(journal)


@pytest.mark.parametrize(
    "garbage",
    [
        {"op_code": merged.SET_SCORE, "trial_id": "0", "step": 1, "intermediate_value": 1.0},
        {"op_code": merged.SET_SCORE, "trial_id": -1, "step": 1, "intermediate_value": 1.0},
        {"op_code": merged.SET_SCORE, "trial_id": 10**6, "step": 1, "intermediate_value": 1.0},
        {"op_code": merged.SET_SCORE, "trial_id": True, "step": 1, "intermediate_value": 1.0},
        {"op_code": merged.SET_ATTRIBUTE, "trial_id": 0, "user_attr": {"a": 1, "b": 2}},
        {"op_code": merged.SET_ATTRIBUTE, "trial_id": 0, "user_attr": "a"},
        {"op_code": merged.SET_ATTRIBUTE, "trial_id": 0},
        {"no": "operation"},
    ],
)
def test_what_is_none_of_ours_is_left_to_optuna(search, garbage):
    entries = [*search.read_logs(0), {"worker_id": "somebody", **garbage}]
    assert merged.merged(entries)[-1] == {"worker_id": "somebody", **garbage}


def test_a_journal_of_several_studies_is_left_as_it_is():
    journal = MemoryJournal()
    for name in ("other", "test"):
        study = optuna.create_study(storage=JournalStorage(journal), study_name=name)
        study.ask().report(0.5, 1)
    assert MergedJournal(journal).read_logs(0) == journal.read_logs(0)
    assert trials_of(MergedJournal(journal)) == trials_of(journal)


def test_a_merged_journal_is_that_of_one_moment_and_cannot_be_written(search):
    once = MergedJournal(search)
    storage = JournalStorage(once)
    StudyRecord(new_spec(trials=30), search)  # a driver's next life writes into the journal
    assert len(once.read_logs(0)) != len(once.read_logs(1)) == 0
    with pytest.raises(AssertionError, match="only read"):
        storage.set_study_user_attr(0, "life", 1)


def test_the_search_for_cycles_is_on_again_after_an_error():
    def read():
        with no_collection():
            assert not gc.isenabled()
            raise KeyError("journal")

    with pytest.raises(KeyError):
        read()
    assert gc.isenabled()
