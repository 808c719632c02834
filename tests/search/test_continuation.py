"""Raising the maximum of epochs: who goes on, from where, compared with whom, over a journal in memory."""

from __future__ import annotations

import dataclasses

import pytest

from tests.factories import new_spec
from tuner.errors import UsageError
from tuner.exchange import Failure, Report
from tuner.search.record import StudyRecord
from tuner.store.journal import MemoryJournal
from tuner.study import read_study
from tuner.training.checkpoint_ref import CheckpointRef

SPEC = new_spec(trials=4, max_epochs=3, grace_period=3)  # no rung: all are complete


def report(number, epoch, score):
    ref = CheckpointRef(f"/s/{number}/epoch-{epoch}", "a" * 64, epoch, score)
    return Report(epoch=epoch, score=score, seconds=1.0, checkpoint=ref, best=ref)


def run(record, scores):
    """Each trial reports its score in all its epochs; the assignments in the order in which they were handed out."""
    assignments = []
    while (assignment := record.next_assignment()) is not None:
        assignments.append(assignment)
        for epoch in range(assignment.start_epoch + 1, assignment.max_epochs + 1):
            if not record.report(assignment, report(assignment.number, epoch, scores[assignment.number])):
                break
    return assignments


@pytest.fixture
def journal():
    """Four complete trials of 3 epochs."""
    journal = MemoryJournal()
    run(StudyRecord(SPEC, journal), [0.5, 0.9, 0.7, 0.8])
    return journal


def test_the_best_one_in_reduction_factor_rounded_up_go_on_as_new_trials_from_their_last_checkpoints(journal):
    record = StudyRecord(SPEC, journal)
    record.train_longer(10)
    first, second = record.next_assignment(), record.next_assignment()
    origins = StudyRecord(SPEC, journal).records()
    assert record.next_assignment() is None
    for assignment, origin in ((first, origins[1]), (second, origins[3])):
        assert assignment.params == origin.params
        assert assignment.checkpoint == origin.checkpoint
        assert (assignment.start_epoch, assignment.max_epochs, assignment.continued_from) == (3, 10, 3)
        assert assignment.attempt == 1
    assert [(trial.number, trial.continues) for trial in origins[4:]] == [(4, 1), (5, 3)]
    assert [trial.as_dict()["continues"] for trial in origins] == [None, None, None, None, 1, 3]


def test_they_are_compared_above_what_their_origins_passed_only_and_the_origins_stay_as_they_were(journal):
    record = StudyRecord(SPEC, journal)
    before = record.records()
    record.train_longer(10)
    assert record.rungs == {3: [], 9: []}  # 3 was the end of the first trials, none of which was compared there
    run(record, [0, 0, 0, 0, 0.9, 0.8])
    after = record.records()
    assert after[:4] == before
    assert record.rungs == {3: [], 9: [0.9, 0.8]}
    assert (after[4].state, [epoch for epoch, _ in after[4].values]) == ("complete", [4, 5, 6, 7, 8, 9, 10])
    assert (after[5].state, after[5].reason["rung"]) == ("pruned", 9)
    assert StudyRecord(SPEC, journal).rungs == record.rungs


def test_they_are_not_counted_among_the_trials_wanted(journal):
    record = StudyRecord(SPEC, journal)
    record.train_longer(10)
    study = read_study(SPEC, journal, None)
    assert (study.state, study.finished, study.trials_wanted, study.max_epochs) == ("stopped", 4, 4, 10)
    record.new.want(5)
    assert [assignment.number for assignment in run(record, [0, 0, 0, 0, 0.9, 0.8, 0.7])] == [4, 5, 6]
    study = read_study(SPEC, journal, None)
    assert (study.state, study.finished) == ("complete", 5)
    assert study.status()["max_epochs"] == 10
    assert study.status()["rungs"] == [
        {"epoch": 3, "arrived": 1, "stopped": 0, "paused": 0},
        {"epoch": 9, "arrived": 3, "stopped": 2, "paused": 0},
    ]


def test_a_trial_in_flight_keeps_the_maximum_that_it_began_with():
    journal = MemoryJournal()
    record = StudyRecord(SPEC, journal)
    assignment = record.next_assignment()
    record.report(assignment, report(0, 1, 0.5))
    record = StudyRecord(SPEC, journal)
    record.train_longer(10)
    again, fresh = record.next_assignment(), record.next_assignment()
    assert (again.number, again.max_epochs, again.continued_from) == (0, 3, 0)
    assert (fresh.number, fresh.max_epochs, fresh.continued_from) == (1, 10, 0)


def test_a_rebuilt_record_goes_on_with_them_from_their_own_checkpoint(journal):
    record = StudyRecord(SPEC, journal)
    record.train_longer(10)
    record.report(record.next_assignment(), report(4, 4, 0.95))
    rebuilt = StudyRecord(SPEC, journal)
    assert rebuilt.max_epochs == 10
    again = rebuilt.next_assignment()
    assert (again.number, again.attempt, again.start_epoch, again.max_epochs, again.continued_from) == (4, 2, 4, 10, 3)
    assert again.checkpoint["path"] == "/s/4/epoch-4"


def test_a_second_raise_continues_the_continuation_and_not_its_origin_again(journal):
    record = StudyRecord(SPEC, journal)
    record.train_longer(10)
    run(record, [0, 0, 0, 0, 0.95, 0.96])
    record = StudyRecord(SPEC, journal)
    record.train_longer(20)
    continued = record.records()[6:]
    # Of 4 candidates (0, 2, 4, 5) the best two.
    assert [(trial.continues, trial.continued_from) for trial in continued] == [(5, 10), (4, 10)]


def test_a_trial_whose_last_epoch_has_no_checkpoint_is_not_continued():
    journal = MemoryJournal()
    spec = new_spec(trials=2, max_epochs=2, grace_period=2)
    record = StudyRecord(spec, journal)
    for saved in (1, 2):
        assignment = record.next_assignment()
        for epoch in (1, 2):
            full = report(assignment.number, epoch, 0.5)
            record.report(assignment, full if epoch == saved else Report(epoch=epoch, score=0.5))
    record.train_longer(4)
    assert [trial.continues for trial in record.records()] == [None, None, 1]


def test_a_trial_that_ended_on_a_plateau_is_not_continued():
    journal = MemoryJournal()
    spec = new_spec(trials=2, max_epochs=3, grace_period=3)
    record = StudyRecord(spec, journal)
    first, second = record.next_assignment(), record.next_assignment()
    record.report(first, report(0, 1, 0.9))
    record.report(first, dataclasses.replace(report(0, 2, 0.9), waited=1))
    for epoch in (1, 2, 3):
        record.report(second, report(1, epoch, 0.5))
    record.train_longer(9)
    assert [trial.continues for trial in record.records()] == [None, None, 1]


def test_a_continuation_that_cannot_use_its_checkpoint_still_enters_no_rung_of_its_origin():
    journal = MemoryJournal()
    spec = new_spec(trials=1, max_epochs=4)
    run(StudyRecord(spec, journal), [0.5])
    record = StudyRecord(spec, journal)
    assert record.rungs == {1: [0.5], 3: [0.5]}
    record.train_longer(12)
    assignment = record.next_assignment()
    for epoch in (1, 2, 3, 4):
        record.report(assignment, Report(epoch=epoch, score=0.1, restarted="" if epoch > 1 else "damaged"))
    assert record.rungs == {1: [0.5], 3: [0.5], 9: []}
    assert StudyRecord(spec, journal).rungs == record.rungs


def test_fewer_epochs_are_refused_in_one_line_and_the_same_number_changes_nothing(journal):
    record = StudyRecord(SPEC, journal)
    length = journal.length()
    record.train_longer(3)
    with pytest.raises(UsageError, match=r"^max-epochs = 2 is lower than the study's 3: "):
        record.train_longer(2)
    assert journal.length() == length


def test_failed_and_pruned_trials_are_not_continued():
    journal = MemoryJournal()
    spec = new_spec(trials=3, max_epochs=3)
    record = StudyRecord(spec, journal)
    good, bad = record.next_assignment(), record.next_assignment()
    assert record.report(good, report(0, 1, 0.8))
    assert not record.report(bad, report(1, 1, 0.2))
    record.report(record.next_assignment(), Failure("diverged", "loss nan"))
    for epoch in (2, 3):
        record.report(good, report(0, epoch, 0.8))
    record.train_longer(9)
    assert [trial.continues for trial in record.records()] == [None, None, None, 0]
