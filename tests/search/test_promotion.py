"""ASHA by promotion: who waits, who goes on next, how those that wait end, and that no crash changes any of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from optuna.trial import TrialState

from tests.factories import new_spec
from tuner.errors import UsageError
from tuner.exchange import Failure, Report
from tuner.promotion import Promotions
from tuner.search.audit import audit
from tuner.search.record import StudyRecord
from tuner.search.sampler import StudyWithEvidence
from tuner.spec import StudySpec
from tuner.store.journal import MemoryJournal
from tuner.study import read_study
from tuner.training.checkpoint_ref import CheckpointRef

SPEC = new_spec(asha="promote", trials=9)  # rungs 1 and 3 of 9 epochs, reduction factor 3


class CountedJournal(MemoryJournal):
    """Knows how many entries there were after each write: what a crash can leave behind."""

    def __init__(self, entries=()):
        super().__init__()
        self.lengths = [0]
        self.append_logs(list(entries))

    def _write(self, entries):
        super()._write(entries)
        self.lengths.append(len(self._entries))


def report(number, epoch, score):
    ref = CheckpointRef(f"/s/{number}/epoch-{epoch}", "a" * 64, epoch, score)
    return Report(epoch=epoch, score=score, seconds=1.0, checkpoint=ref, best=ref)


def score_of(number, epoch):
    return 0.5 + 0.01 * ((number * 7) % 11) + 0.001 * epoch


def train(record, score=score_of, attempts=1000):
    """One worker; (number, first epoch, last epoch) of each attempt, until nothing is left."""
    trained = []
    while len(trained) < attempts and (assignment := record.next_assignment()) is not None:
        for epoch in range(assignment.start_epoch + 1, assignment.max_epochs + 1):
            if not record.report(assignment, report(assignment.number, epoch, score(assignment.number, epoch))):
                break
        trained.append((assignment.number, assignment.start_epoch + 1, epoch))
    return trained


@pytest.mark.parametrize(
    ("case", "scores", "gone_on", "expected"),
    [
        ("nobody before eta have arrived", {1: {0: 0.9, 1: 0.8}}, [], None),
        ("the best one of three", {1: {0: 0.7, 1: 0.9, 2: 0.8}}, [], 1),
        ("it has gone on, and no other belongs to the best third", {1: {0: 0.7, 1: 0.9, 2: 0.8}}, [1], None),
        ("rounded down: one of five", {1: {0: 0.7, 1: 0.9, 2: 0.8, 3: 0.1, 4: 0.2}}, [1], None),
        ("the best of two that may", {1: {0: 0.7, 1: 0.9, 2: 0.8, 3: 0.1, 4: 0.2, 5: 0.0}}, [], 1),
        ("then the second", {1: {0: 0.7, 1: 0.9, 2: 0.8, 3: 0.1, 4: 0.2, 5: 0.0}}, [1], 2),
        ("of equal scores the lowest number", {1: {0: 0.7, 1: 0.7, 2: 0.7}}, [], 0),
        ("once it has gone on its equals wait", {1: {0: 0.7, 1: 0.7, 2: 0.7}}, [0], None),
        ("the highest rung first", {1: {0: 0.9, 1: 0.8, 2: 0.7}, 3: {3: 0.1, 4: 0.2, 5: 0.3}}, [], 5),
        ("else the next one down", {1: {0: 0.9, 1: 0.8, 2: 0.7}, 3: {3: 0.1, 4: 0.2}}, [], 0),
    ],
)
def test_who_goes_on_next(case, scores, gone_on, expected):
    promotions = Promotions(SPEC)
    for rung, arrived in scores.items():
        for number, score in arrived.items():
            promotions.arrived(number, rung, score)
            promotions.paused(number, rung)
    for number in gone_on:
        promotions.over(number)
    assert promotions.promotable() == expected, case


def test_lower_is_better_where_the_study_says_so():
    promotions = Promotions(new_spec(asha="promote", metric="val_loss"))
    for number, score in enumerate((0.7, 0.2, 0.9)):
        promotions.arrived(number, 1, score)
        promotions.paused(number, 1)
    assert promotions.promotable() == 1
    assert promotions.reason(2) == {"kind": "asha", "rung": 1, "rank": 3, "peers": 2, "cutoff": 0.2}


def test_every_trial_pauses_at_its_rung_and_the_best_goes_on_from_its_checkpoint_before_a_new_one_begins():
    record = StudyRecord(SPEC, MemoryJournal())
    assert train(record, attempts=3) == [(0, 1, 1), (1, 1, 1), (2, 1, 1)]
    assert [trial.state for trial in record.records()] == ["paused"] * 3
    assert record.records()[0].checkpoint["epoch"] == 1
    promoted = record.next_assignment()
    assert (promoted.number, promoted.attempt, promoted.start_epoch) == (1, 2, 1)  # scores 0.501, 0.571, 0.531
    assert promoted.checkpoint["path"] == "/s/1/epoch-1"
    assert [trial.state for trial in record.records()] == ["paused", "running", "paused"]
    assert record.next_assignment().number == 3


def test_at_the_end_those_that_wait_are_pruned_with_their_rank_among_all_that_came_to_their_rung():
    journal = MemoryJournal()
    record = StudyRecord(SPEC, journal)
    trained = train(record)
    study = read_study(SPEC, journal, None)
    assert (study.state, record.exhausted) == ("complete", True)
    assert study.counts == {"queued": 0, "running": 0, "paused": 0, "complete": 1, "pruned": 8, "failed": 0}
    # 9 trials came to epoch 1, and the best third of them, 7.. of scores by number 0 7 3 10 6 2 9 5 1, went on to 3.
    assert sorted(number for number, first, _ in trained if first == 2) == [1, 3, 6]
    assert [number for number, first, _ in trained if first == 4] == [3]
    by_number = {trial.number: trial for trial in study.trials}
    assert by_number[8].reason == {"kind": "asha", "rung": 1, "rank": 8, "peers": 8, "cutoff": score_of(1, 1)}
    assert by_number[1].reason == {"kind": "asha", "rung": 3, "rank": 3, "peers": 2, "cutoff": score_of(3, 3)}
    assert study.status()["rungs"] == [
        {"epoch": 1, "arrived": 9, "stopped": 6, "paused": 0},
        {"epoch": 3, "arrived": 3, "stopped": 2, "paused": 0},
    ]
    assert by_number[8].checkpoint is None  # its files are deleted
    assert audit(SPEC, journal).differences == []


def test_nobody_that_waits_is_ended_while_another_runs_that_may_still_make_room():
    record = StudyRecord(new_spec(asha="promote", trials=3), MemoryJournal())
    train(record, attempts=2)
    last = record.next_assignment()
    assert record.next_assignment() is None
    assert [trial.state for trial in record.records()] == ["paused", "paused", "running"]
    record.report(last, Failure("error", "boom"))
    assert not record.exhausted
    train(record)  # two came, too few for anyone to be promoted: the better one goes on all the same
    assert [trial.state for trial in record.records()] == ["pruned", "complete", "failed"]
    assert record.records()[0].reason == {"kind": "asha", "rung": 1, "rank": 2, "peers": 1, "cutoff": None}
    assert record.exhausted


def test_a_search_of_too_few_trials_for_its_rungs_still_completes_its_best_one():
    spec = new_spec(asha="promote", trials=4)  # one of four belongs to the best third of rung 1, none of one at rung 3
    journal = MemoryJournal()
    record = StudyRecord(spec, journal)
    train(record)
    states = {trial.number: trial.state for trial in record.records()}
    best = max(range(4), key=lambda number: score_of(number, 1))
    assert states == {number: "complete" if number == best else "pruned" for number in range(4)}
    assert audit(spec, journal).differences == []


def test_a_trial_on_its_plateau_at_a_rung_is_complete_and_does_not_wait_there():
    record = StudyRecord(SPEC, journal := MemoryJournal())
    assignment = record.next_assignment()
    assert not record.report(assignment, replace(report(0, 1, 0.9), waited=2))
    (trial,) = record.records()
    assert (trial.state, trial.reason) == ("complete", {"kind": "plateau", "waited": 2})
    train(record)
    assert record.rungs[1][0] == 0.9
    assert audit(SPEC, journal).differences == []


def test_a_stopped_search_leaves_them_paused_and_more_trials_may_promote_them():
    journal = MemoryJournal()
    first = StudyRecord(new_spec(asha="promote", trials=2), journal)
    train(first, attempts=2)
    first.stop()
    assert (first.next_assignment(), first.exhausted) == (None, True)
    spec = new_spec(asha="promote", trials=2)
    assert read_study(spec, journal, None).counts["paused"] == 2
    assert read_study(spec, journal, None).state == "stopped"
    again = StudyRecord(spec, journal)
    again.new.want(3)
    assert train(again)[:2] == [(2, 1, 1), (1, 2, 3)]


def test_a_promoted_trial_that_is_lost_goes_on_from_its_rung_and_does_not_pause_there_again():
    record = StudyRecord(SPEC, MemoryJournal())
    train(record, attempts=3)
    promoted = record.next_assignment()
    record.lose(promoted, "killed")
    again = record.next_assignment()
    assert (again.number, again.attempt, again.start_epoch) == (1, 3, 1)
    # Its checkpoint was damaged, so that it trains the epoch of the rung once more.
    assert record.report(again, report(1, 1, 0.2)) is True
    assert record.report(again, report(1, 2, score_of(1, 2))) is True
    assert record.report(again, report(1, 3, score_of(1, 3))) is False
    assert record.records()[1].values[0] == (1, score_of(1, 1))
    assert record.records()[1].state == "paused"


def test_after_a_crash_at_any_moment_the_search_ends_as_the_rules_say():
    whole = CountedJournal()
    train(StudyRecord(SPEC, whole))
    ends = read_study(SPEC, whole, None).trials
    assert len(whole.lengths) > 30
    for length in whole.lengths:
        journal = CountedJournal(whole.read_logs(0)[:length])
        record = StudyRecord(SPEC, journal)
        train(record)
        assert record.exhausted, length
        trials = read_study(SPEC, journal, None).trials
        # One worker does the same again: also who is promoted, in which order.
        assert [(trial.state, trial.reason, trial.values) for trial in trials] == [
            (trial.state, trial.reason, trial.values) for trial in ends
        ], length
        assert audit(SPEC, journal).differences == [], length


def test_a_promotion_that_the_rule_would_not_make_is_named():
    journal = MemoryJournal()
    train(StudyRecord(SPEC, journal))
    entries = journal.read_logs(0)
    worst = next(entry for entry in entries if entry.get("step") == 1 and entry["trial_id"] == 1)
    worst["intermediate_value"] = 0.1  # of the one that was promoted first
    changed = MemoryJournal()
    changed.append_logs(entries)
    found = audit(SPEC, changed)
    assert "trial 1 was promoted, and trial 2 would be promoted now" in found.differences
    assert any(line.startswith("trial 8 ended with ") for line in found.differences)


def test_the_sampler_learns_from_trials_that_wait_as_from_pruned_ones():
    record = StudyRecord(SPEC, MemoryJournal())
    train(record, attempts=2)
    record.next_assignment()
    study = StudyWithEvidence("test", record.trials._storage, [])
    assert [trial.state for trial in study._get_trials(deepcopy=False)] == [
        TrialState.PRUNED,
        TrialState.PRUNED,
        TrialState.RUNNING,
    ]
    assert len(study._get_trials(deepcopy=False, states=(TrialState.PRUNED,))) == 2
    assert [trial.state for trial in record.trials.all()] == [TrialState.RUNNING] * 3


def test_the_choice_is_in_the_spec_and_studies_from_before_it_stop_trials():
    assert StudySpec.from_json(SPEC.to_json()).asha == "promote"
    assert StudySpec.from_json(SPEC.to_json().replace(',"asha":"promote"', "")).asha == "stop"
    with pytest.raises(UsageError, match="asha = 'pause' is not known: it must be stop or promote"):
        new_spec(asha="pause")
