"""The written side of a search, over a journal in memory: what is launched, recorded, decided, and rebuilt."""

import math

import optuna
import pytest
from optuna.trial import TrialState

from tests.factories import new_space, new_spec
from tests.search.runs import AtOnce, new_record, report, run, run_to_the_end, saved, trial
from tuner.errors import LeaseLost, StoreError
from tuner.exchange import Failure
from tuner.search.record import StudyRecord
from tuner.store.journal import MemoryJournal
from tuner.study import read_study


def test_trials_are_launched_until_the_number_wanted_and_then_nothing_is():
    record = new_record(trials=2)
    assert [record.next_assignment().number, record.next_assignment().number] == [0, 1]
    assert record.next_assignment() is None
    assert not record.exhausted  # two are running
    for assignment in list(record.live.values()):
        record.report(assignment, Failure("error", "boom"))
    assert record.exhausted


def test_the_first_trial_at_a_rung_goes_on_and_a_worse_second_one_is_pruned_with_rung_and_rank():
    record = new_record()
    first, second = record.next_assignment(), record.next_assignment()
    assert record.report(first, report(1, 0.8)) is True
    assert record.report(second, report(1, 0.3)) is False
    pruned = trial(record, 1)
    assert pruned.state == "pruned"
    assert pruned.reason == {"kind": "asha", "rung": 1, "rank": 2, "peers": 1, "cutoff": 0.8}
    assert pruned.values == [(1, 0.3)]


def test_a_trial_that_reaches_max_epochs_is_complete_with_its_best_score():
    record = new_record(max_epochs=3, grace_period=3)
    assignment = record.next_assignment()
    assert [record.report(assignment, report(epoch, score)) for epoch, score in [(1, 0.5), (2, 0.9), (3, 0.7)]] == [
        True,
        True,
        False,
    ]
    assert trial(record, 0).state == "complete"
    assert record.trials.study.best_value == 0.9


def test_a_trial_that_ends_on_a_plateau_is_complete_with_the_reason_and_keeps_its_weights():
    record = new_record(max_epochs=9, grace_period=9)
    assignment = record.next_assignment()
    record.report(assignment, report(1, 0.6, **saved(1, 0.6)))
    assert record.report(assignment, report(2, 0.5, waited=1, **saved(2, 0.5, 1, 0.6))) is False
    ended = trial(record, 0)
    assert (ended.state, ended.reason, ended.values) == (
        "complete",
        {"kind": "plateau", "waited": 1},
        [(1, 0.6), (2, 0.5)],
    )
    assert ended.best_checkpoint["epoch"] == 1
    assert record.trials.study.best_value == 0.6
    assert record.next_assignment().number == 1


def test_at_a_rung_the_comparison_with_others_goes_before_a_plateau():
    record = new_record()
    first, second, third = (record.next_assignment() for _ in range(3))
    for epoch in (1, 2, 3):
        record.report(first, report(epoch, 0.8))
    for assignment, score in ((second, 0.9), (third, 0.95)):
        for epoch in (1, 2):
            record.report(assignment, report(epoch, score))
    record.report(second, report(3, 0.9, waited=2))
    record.report(third, report(3, 0.7, waited=2))
    assert [trial(record, number).state for number in (1, 2)] == ["complete", "pruned"]
    assert trial(record, 2).reason["kind"] == "asha"
    assert record.rungs[3] == [0.8, 0.9, 0.7]


def test_a_plateau_whose_weights_cannot_be_saved_stays_in_flight():
    record = new_record()
    assignment = record.next_assignment()
    assert record.report(assignment, report(1, 0.6, waited=1, save_error="disk full")) is False
    assert (trial(record, 0).state, trial(record, 0).values) == ("queued", [])


def test_the_first_trial_is_the_first_configuration_of_the_space_and_the_others_are_sampled():
    start = {"lr": 0.05, "width": 48, "norm": "none"}
    record = new_record(space=new_space(start=start))
    params = [record.next_assignment().params for _ in range(3)]
    assert params[0] == start
    assert start not in params[1:]
    assert trial(record, 0).params == start


def test_when_lower_is_better_the_complete_value_is_the_lowest():
    record = new_record(max_epochs=2, grace_period=2, metric="val_loss")
    assignment = record.next_assignment()
    record.report(assignment, report(1, 0.2))
    record.report(assignment, report(2, 0.4))
    assert record.trials.study.best_value == 0.2


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_fails_the_trial_as_diverged_and_enters_no_rung(score):
    record = new_record()
    assignment = record.next_assignment()
    assert record.report(assignment, report(1, score)) is False
    failed = trial(record, 0)
    assert (failed.state, failed.reason["kind"], failed.values) == ("failed", "diverged", [])
    assert record.rungs[1] == []


def test_a_failure_is_recorded_with_its_kind_and_detail_and_its_earlier_epochs():
    record = new_record()
    assignment = record.next_assignment()
    record.report(assignment, report(1, 0.5))
    assert record.report(assignment, Failure("out_of_memory", "tried to allocate 9 GiB")) is False
    failed = trial(record, 0)
    assert failed.reason == {"kind": "out_of_memory", "detail": "tried to allocate 9 GiB"}
    assert failed.values == [(1, 0.5)]


def test_after_stop_nothing_is_launched_and_what_runs_stays_in_flight():
    record = new_record()
    assignment = record.next_assignment()
    record.stop()
    assert record.report(assignment, report(1, 0.5)) is False
    record.release(assignment)
    assert record.next_assignment() is None
    assert record.exhausted
    assert trial(record, 0).state == "queued"


def test_a_rebuilt_record_has_the_same_rungs_counts_and_trials_in_flight():
    journal = MemoryJournal()
    record = new_record(journal)
    run_to_the_end(record, 0.8)
    run_to_the_end(record, 0.2)
    in_flight = record.next_assignment()
    record.report(in_flight, report(1, 0.9, **saved(1, 0.9)))
    record.report(in_flight, report(2, 0.91))

    rebuilt = new_record(journal)
    assert rebuilt.rungs == record.rungs
    assert [trial.state for trial in rebuilt.records()] == ["complete", "pruned", "queued"]
    again = rebuilt.next_assignment()
    assert (again.number, again.attempt, again.start_epoch, again.params) == (2, 2, 1, in_flight.params)


@pytest.mark.parametrize("executor", [None, AtOnce()], ids=["when asked", "ahead"])
@pytest.mark.parametrize("sampler", ["tpe", "mfgp"])
def test_a_search_interrupted_at_any_point_suggests_what_the_uninterrupted_one_does(sampler, executor):
    spec = new_spec(trials=16, sampler=sampler)
    whole = run(StudyRecord(spec, MemoryJournal(), executor=executor), 16)
    journal = MemoryJournal()
    parts = [params for trials in (5, 8, 3) for params in run(StudyRecord(spec, journal, executor=executor), trials)]
    assert parts == whole
    assert run(new_record(trials=16, seed=1), 1) != whole[:1]


def test_a_trial_runs_for_others_only_if_it_was_launched_in_the_life_of_the_living_driver():
    journal = MemoryJournal()
    first = new_record(journal)
    first.next_assignment()
    first.next_assignment()
    second = new_record(journal)
    second.next_assignment()
    driver = {"pid": 1}
    assert [trial.state for trial in read_study(new_spec(), journal, driver).trials] == ["running", "queued"]
    assert [trial.state for trial in read_study(new_spec(), journal, None).trials] == ["queued", "queued"]


def test_an_error_of_the_store_is_remembered_for_the_driver():
    record = new_record()
    refused = LeaseLost("taken over")
    with pytest.raises(LeaseLost), record.first_error():
        raise refused
    with pytest.raises(StoreError), record.first_error():
        raise StoreError("a later one")
    assert record.error is refused
    assert record.stopping


def test_plain_optuna_reads_the_study_with_every_report_and_the_truthful_states():
    journal = MemoryJournal()
    record = new_record(journal, max_epochs=3, trials=3)
    run_to_the_end(record, 0.8, 3)
    run_to_the_end(record, 0.2, 3)
    record.report(record.next_assignment(), Failure("diverged", "loss nan"))
    study = optuna.load_study(study_name="test", storage=optuna.storages.JournalStorage(journal))
    assert [found.state for found in study.trials] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    assert [found.intermediate_values for found in study.trials] == [{1: 0.8, 2: 0.8, 3: 0.8}, {1: 0.2}, {}]
    assert study.best_trial.number == 0


def test_more_trials_may_be_wanted_later_and_a_rebuilt_record_remembers():
    journal = MemoryJournal()
    record = new_record(journal, trials=1)
    run_to_the_end(record)
    assert record.exhausted
    new_record(journal, trials=1).new.want(3)
    assert new_record(journal, trials=1).new.wanted == 3
    assert not new_record(journal, trials=1).exhausted


def test_each_change_of_a_trial_is_told_once_it_is_in_the_journal():
    seen = []
    journal = MemoryJournal()

    def on_change(changed):
        stored = read_study(new_spec(), journal, {"pid": 1}).trials[changed.number]
        assert stored.values == changed.values
        seen.append((changed.number, changed.state, changed.values))

    record = StudyRecord(new_spec(max_epochs=1), journal, on_change)
    run_to_the_end(record, 0.5, 1)
    assert seen == [(0, "running", []), (0, "complete", [(1, 0.5)])]


def test_the_best_is_the_best_epoch_whose_weights_are_kept():
    journal = MemoryJournal()
    record = new_record(journal, max_epochs=3, grace_period=1, trials=2)
    first = record.next_assignment()
    record.report(first, report(1, 0.5))
    record.report(first, report(2, 0.9))
    record.report(first, report(3, 0.7, **saved(3, 0.7, best_epoch=2, best_score=0.9)))
    second = record.next_assignment()
    record.report(second, report(1, 0.3, **saved(1, 0.3)))  # pruned, so its weights are deleted
    study = read_study(new_spec(trials=2), journal, None)
    assert (study.best.trial, study.best.epoch, study.best.value) == (0, 2, 0.9)
    assert study.state == "complete"
    assert study.status()["trials"] == {"queued": 0, "running": 0, "paused": 0, "complete": 1, "pruned": 1, "failed": 0}
    assert study.status()["worker_seconds"] == 4.0
