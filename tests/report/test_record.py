"""The details of a study, from a journal that a search has written."""

from __future__ import annotations

import itertools

import pytest

from tests.factories import new_spec
from tests.report.studies import ENVIRONMENT as RAN_WITH
from tests.report.studies import searched, trial_of
from tuner.exchange import Failure, Report
from tuner.report.charts_time import busy_share, stretches
from tuner.report.record import read_detail
from tuner.search import epochs
from tuner.search.record import StudyRecord
from tuner.store.journal import MemoryJournal
from tuner.study import ENVIRONMENT


@pytest.fixture
def clock(monkeypatch):
    """What the driver takes for the time, in a list that a test may change."""
    now = [1_000.0]
    monkeypatch.setattr(epochs.time, "time", lambda: now[0])
    return now


def test_each_epoch_has_its_worker_its_attempt_and_the_time_at_which_it_ended(clock):
    spec, journal = new_spec(trials=2, grace_period=5), MemoryJournal()
    record = StudyRecord(spec, journal)
    record.remember(ENVIRONMENT, RAN_WITH)
    first = record.next_assignment()
    clock[0] = 1_010.0
    record.report(first, Report(epoch=1, score=0.5, seconds=4.0, worker="a:1 (CPU)", train_loss=2.0, val_loss=1.5))
    record.lose(first, "the machine is gone")
    again = record.next_assignment()
    clock[0] = 1_030.0
    record.report(again, Report(epoch=2, score=0.4, seconds=3.0, worker="b:2 (CPU)", restarted="damaged: went on"))
    record.report(record.next_assignment(), Failure("diverged", "loss nan"))

    detail = read_detail(spec, journal, None)
    trial, failed = detail.trials
    told = [(one.epoch, one.score, one.seconds, one.worker, one.attempt, one.ended_s) for one in trial.epochs]
    assert told == [(1, 0.5, 4.0, "a:1 (CPU)", 1, 1_010.0), (2, 0.4, 3.0, "b:2 (CPU)", 2, 1_030.0)]
    assert (trial.epochs[0].train_loss, trial.epochs[0].val_loss) == (2.0, 1.5)
    assert (trial.losses, trial.restarts) == (1, ("damaged: went on",))
    assert failed.epochs == ()
    assert failed.ended_s is not None
    assert (detail.exact_times, detail.start_s) == (True, 1_006.0)
    assert detail.study.environments == (RAN_WITH,)


def test_a_study_from_before_times_were_recorded_gets_estimates(clock):
    spec, journal = new_spec(trials=1, max_epochs=2, grace_period=5), MemoryJournal()
    record = StudyRecord(spec, journal)
    assignment = record.next_assignment()
    for epoch in (1, 2):
        record.report(assignment, Report(epoch=epoch, score=0.5, seconds=10.0, worker="a:1 (CPU)"))
    journal._entries = [entry.replace('"recorded_s":1000.0,', "") for entry in journal._entries]

    detail = read_detail(spec, journal, None)
    (trial,) = detail.trials
    assert not detail.exact_times
    assert [one.ended_s for one in trial.epochs] == [trial.ended_s - 10.0, trial.ended_s]


def test_a_study_without_trials_has_no_start():
    detail = read_detail(new_spec(), MemoryJournal(), None)
    assert (detail.trials, detail.start_s, detail.timed_epochs()) == ((), None, [])


def test_the_best_epoch_is_the_one_whose_weights_are_kept():
    trial = trial_of(0, (0.5, 0.9, 0.9), best_checkpoint={"path": "p", "sha256": "s", "epoch": 3, "score": 0.9})
    assert trial.best("maximize").epoch == 3
    assert trial_of(0, (0.5, 0.9, 0.9)).best("maximize").epoch == 2
    assert trial_of(0, (0.5, 0.9, 0.9)).best("minimize").epoch == 1
    assert trial_of(0).best("maximize") is None


def test_a_worker_is_busy_while_it_trains_and_idle_between_two_trials():
    detail = searched(60, workers=3)
    by_worker = stretches(detail)
    assert len(by_worker) == 3
    for mine in by_worker.values():
        assert [one.start_s for one in mine] == sorted(one.start_s for one in mine)
        assert all(before.end_s < after.start_s for before, after in itertools.pairwise(mine))
        busy_s, share = busy_share(mine)
        assert 0.5 < share < 1.0
        assert busy_s == pytest.approx(sum(one.end_s - one.start_s for one in mine))
    trained = sum(one.last - one.first + 1 for mine in by_worker.values() for one in mine)
    assert trained == sum(len(trial.epochs) for trial in detail.trials)


def test_an_epoch_has_all_scores_that_its_worker_told_the_one_searched_for_exactly():
    spec, journal = new_spec(trials=1, max_epochs=2, grace_period=5, metric="val_macro_f1"), MemoryJournal()
    record = StudyRecord(spec, journal)
    assignment = record.next_assignment()
    scores = {"val_accuracy": 2 / 3, "val_balanced_accuracy": 0.5, "val_macro_f1": 1 / 3, "val_loss": 0.75}
    record.report(assignment, Report(epoch=1, score=1 / 3, val_loss=0.75, scores=scores))
    record.report(assignment, Report(epoch=2, score=0.25, val_loss=0.5))  # as workers told before there were others
    first, second = read_detail(spec, journal, None).trials[0].epochs
    assert first.scores == {**scores, "val_accuracy": 0.666667}
    assert second.scores == {"val_macro_f1": 0.25, "val_loss": 0.5}
