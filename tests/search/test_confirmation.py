"""Trials that confirm others: what is launched, and that the search goes on as if they had never been."""

from __future__ import annotations

import pytest

from tests.factories import new_spec
from tests.search.test_continuation import report, run
from tuner.confirmed import Confirmation
from tuner.exchange import Failure, Report
from tuner.search.audit import audit
from tuner.search.record import StudyRecord
from tuner.store.journal import MemoryJournal
from tuner.study import read_study

SPEC = new_spec(trials=4, max_epochs=3, grace_period=1)
SCORES = [0.5, 0.9, 0.7, 0.8, 0.1, 0.2, 0.3, 0.4]


@pytest.fixture
def journal():
    """Four trials, of which ASHA stopped number 2; the best are 1 and 3."""
    journal = MemoryJournal()
    run(StudyRecord(SPEC, journal), SCORES)
    return journal


def confirming(journal, configurations=2, seeds=2, spec=SPEC):
    record = StudyRecord(spec, journal)
    return record, record.confirm(Confirmation(configurations, seeds))


def test_the_best_are_trained_again_for_all_epochs_without_a_rung_each_with_a_seed_of_its_own(journal):
    record, numbers = confirming(journal)
    before = {level: list(scores) for level, scores in record.rungs.items()}
    assignments = run(record, SCORES)
    trials = record.records()
    assert numbers == {4, 5, 6, 7}
    assert [trial.confirms for trial in trials] == [None, None, None, None, 1, 3, 1, 3]
    assert [one.params for one in assignments] == [trials[number].params for number in (1, 3, 1, 3)]
    assert {(one.start_epoch, one.max_epochs, one.attempt) for one in assignments} == {(0, 3, 1)}
    # Worse than all peers at each epoch, and stopped nowhere.
    assert [(trial.state, len(trial.values)) for trial in trials[4:]] == [("complete", 3)] * 4
    assert record.rungs == before == StudyRecord(SPEC, journal).rungs
    assert len({SPEC.training_seed(trial.number) for trial in trials}) == 8


def test_nothing_of_the_search_is_launched_meanwhile_and_a_search_launches_none_of_them(journal):
    record, _ = confirming(journal)
    record.new.want(6)
    record.report(record.next_assignment(), report(4, 1, 0.1))
    searching = StudyRecord(SPEC, journal)
    assert [one.number for one in run(searching, [*SCORES, 0.1, 0.1])] == [8, 9]
    study = read_study(SPEC, journal, None)
    assert (study.state, study.finished, [trial.state for trial in study.trials[4:8]]) == (
        "complete",
        6,
        ["queued"] * 4,
    )
    again, numbers = confirming(journal)
    assert ([one.number for one in run(again, SCORES)], numbers) == ([4, 5, 6, 7], {4, 5, 6, 7})
    assert again.exhausted


def test_typed_again_it_repeats_nothing_and_more_seeds_add_the_missing_ones(journal):
    run(confirming(journal)[0], SCORES)
    record, numbers = confirming(journal)
    assert (run(record, SCORES), record.exhausted, numbers) == ([], True, {4, 5, 6, 7})
    record, numbers = confirming(journal, seeds=3)
    assert [one.number for one in run(record, [*SCORES, 0.5, 0.5])] == [8, 9]
    assert numbers == set(range(4, 10))


def test_a_run_that_a_worker_left_goes_on_from_its_checkpoint_with_its_number(journal):
    record, _ = confirming(journal)
    record.report(record.next_assignment(), report(4, 1, 0.4))
    again = confirming(journal)[0].next_assignment()
    assert (again.number, again.attempt, again.start_epoch, again.confirms) == (4, 2, 1, 1)


def test_a_failed_run_is_replaced_by_another_unless_it_diverged(journal):
    record, _ = confirming(journal, configurations=1)
    for failure in (Failure("out_of_memory", "9 GiB"), Failure("diverged", "loss nan")):
        record.report(record.next_assignment(), failure)
    _, numbers = confirming(journal, configurations=1)
    assert numbers == {5, 6}


@pytest.mark.parametrize("sampler", ["tpe", "mfgp", "random"])
def test_a_study_that_was_confirmed_in_the_middle_suggests_what_it_would_have(sampler):
    spec = new_spec(trials=16, sampler=sampler)
    plain, confirmed = MemoryJournal(), MemoryJournal()

    def search(journal, trials):
        record = StudyRecord(spec, journal)
        record.new.want(trials)
        while (assignment := record.next_assignment()) is not None:
            searched = sum(trial.is_wanted for trial in record.records()) - 1
            score = 0.5 + 0.03 * ((searched * 7) % 11) + assignment.params["width"] / 1e3
            while record.report(assignment, report(assignment.number, len(values(record, assignment)) + 1, score)):
                pass

    def values(record, assignment):
        return record.records()[assignment.number].values

    for journal in (plain, confirmed):
        search(journal, 12)
    run(confirming(confirmed, spec=spec)[0], [0.99] * 20)
    for journal in (plain, confirmed):
        search(journal, 16)
    study = read_study(spec, confirmed, None)
    assert len(study.trials) == 20
    expected = [trial.params for trial in read_study(spec, plain, None).trials]
    assert [trial.params for trial in study.trials if trial.confirms is None] == expected
    found = audit(spec, confirmed)
    assert (found.differences, found.suggestions) == ([], 16)


def test_they_are_not_trained_longer_when_the_maximum_is_raised(journal):
    run(confirming(journal)[0], [0, 0, 0, 0, 0.99, 0.98, 0.97, 0.96])
    record = StudyRecord(SPEC, journal)
    record.train_longer(9)
    assert [trial.continues for trial in record.records()[8:]] == [1]
    # What was confirmed over 3 epochs is not confirmed over 9.
    _, numbers = confirming(journal, configurations=1, seeds=1)
    assert numbers == {9}


def test_the_score_of_a_confirmation_without_a_checkpoint_is_none():
    journal = MemoryJournal()
    spec = new_spec(trials=1, max_epochs=1, grace_period=1)
    run(StudyRecord(spec, journal), [0.5])
    record, _ = confirming(journal, spec=spec)
    record.report(record.next_assignment(), Report(epoch=1, score=0.9))
    assert read_study(spec, journal, None).status()["confirmed"] == []
