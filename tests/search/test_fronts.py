"""A search for several objectives: who goes on, what the journal holds, what the sampler learns from."""

from __future__ import annotations

import random

import optuna
import pytest
from optuna.trial import TrialState

from tests.factories import new_spec
from tests.search.runs import report, saved
from tuner.confirmed import Confirmation
from tuner.search.audit import audit
from tuner.search.record import StudyRecord
from tuner.search.trials import Trials
from tuner.store.journal import MemoryJournal
from tuner.study import read_study

SPEC = new_spec(costs=("parameters", "latency_ms"), trials=40, max_epochs=9, grace_period=1)


def costs(params):
    return {"parameters": params["width"] * 1000, "latency_ms": params["width"] / 8}


def run(record, *, until=10_000, seed=0):
    """With three workers, wide networks being better ones; stops after `until` reports."""
    draw = random.Random(seed)
    for _ in range(until):
        while len(record.live) < 3 and record.next_assignment():
            pass
        if not record.live:
            return
        assignment = draw.choice(list(record.live.values()))
        number, params = assignment.number, assignment.params
        epoch = max(dict(record.records()[number].values), default=0) + 1
        score = 0.3 + params["width"] / 200 + 0.02 * epoch + 0.1 * random.Random(number).random()
        record.report(assignment, report(epoch, score, costs=costs(params), **saved(epoch, score)))


@pytest.fixture(scope="module")
def journal():
    journal = MemoryJournal()
    run(StudyRecord(SPEC, journal))
    return journal


def test_every_stop_is_by_layers_and_every_decision_can_be_taken_again(journal):
    study = read_study(SPEC, journal, None)
    assert study.state == "complete"
    pruned = [trial for trial in study.trials if trial.state == "pruned"]
    assert len(pruned) > 5
    assert all(trial.reason["layer"] > 1 and trial.reason["cutoff"] is None for trial in pruned)
    found = audit(SPEC, journal)
    assert (found.differences, found.suggestions) == ([], 40)
    assert found.decisions >= 40


def test_the_smallest_networks_that_no_other_beats_are_kept_although_their_score_is_low(journal):
    study = read_study(SPEC, journal, None)
    widths = {best.params["width"] for best in study.front}
    assert widths == {16, 32, 48, 64}
    assert all(best.costs == costs(best.params) for best in study.front)
    scores = [best.value for best in study.front]
    assert scores == sorted(scores, reverse=True)


def test_to_optuna_it_is_a_study_of_several_values(journal):
    study = Trials(SPEC, journal).study
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    record = read_study(SPEC, journal, None)
    for trial, known in zip(study.trials, record.trials, strict=True):
        assert trial.values[1:] == [known.costs["parameters"], known.costs["latency_ms"]]
    assert {trial.number for trial in study.best_trials} >= {best.trial for best in record.front}


def test_a_driver_that_is_killed_anywhere_decides_as_if_it_had_lived():
    journal, whole = MemoryJournal(), MemoryJournal()
    run(StudyRecord(SPEC, whole), until=60)
    copied = MemoryJournal()
    copied.append_logs(whole.read_logs(0))
    first, second = StudyRecord(SPEC, whole), StudyRecord(SPEC, copied)
    for record in (first, second):
        run(record, seed=1)
    of_first, of_second = (read_study(SPEC, one, None) for one in (whole, copied))
    assert of_first.trials == of_second.trials
    assert journal.read_logs(0) == []


def test_the_first_measurement_of_a_trials_costs_stands():
    journal = MemoryJournal()
    record = StudyRecord(SPEC, journal)
    assignment = record.next_assignment()
    record.report(assignment, report(1, 0.5, costs={"parameters": 10, "latency_ms": 1.0}))
    record.lose(assignment, "gone")
    again = record.next_assignment()
    record.report(again, report(2, 0.6, costs={"parameters": 10, "latency_ms": 7.0}))
    assert record.records()[0].costs == {"parameters": 10, "latency_ms": 1.0}


def test_with_promotion_the_front_waits_for_its_turn_and_is_trained_to_the_end():
    spec, journal = new_spec(costs=("parameters",), trials=30, max_epochs=9, grace_period=1, asha="promote"), None
    journal = MemoryJournal()
    run(StudyRecord(spec, journal))
    study = read_study(spec, journal, None)
    assert (study.state, study.counts["paused"]) == ("complete", 0)
    assert len({best.params["width"] for best in study.front}) >= 3
    assert audit(spec, journal).differences == []


def test_of_the_complete_trials_those_in_the_best_layers_are_trained_longer(journal):
    copied = MemoryJournal()
    copied.append_logs(journal.read_logs(0))
    record = StudyRecord(SPEC, copied)
    before = read_study(SPEC, journal, None)
    record.train_longer(27)
    continued = {trial.continues for trial in record.records() if trial.continues is not None}
    assert continued
    assert {best.trial for best in before.front} & continued
    complete = [trial for trial in before.trials if trial.state == "complete"]
    assert len(continued) == -(-len(complete) // 3)


def test_only_the_front_is_confirmed(journal):
    copied = MemoryJournal()
    copied.append_logs(journal.read_logs(0))
    study = read_study(SPEC, copied, None)
    record = StudyRecord(SPEC, copied)
    record.confirm(Confirmation(2, 2, prefer=("parameters",)).for_front(study))
    confirmed = [trial.confirms for trial in record.records() if trial.confirms is not None]
    smallest = sorted(study.front, key=lambda best: best.costs["parameters"])[0].trial
    assert len(confirmed) == 4
    assert smallest in confirmed
    assert set(confirmed) <= {best.trial for best in study.front}


def test_the_sampler_sees_pruned_trials_behind_all_complete_ones_those_that_got_farther_first(journal):
    trials = Trials(SPEC, journal)
    shown = trials._shown()._get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    assert {trial.state for trial in shown} == {TrialState.COMPLETE}
    known = {trial.number: trial for trial in trials.all()}
    pruned = [one for one in shown if known[one.number].state == TrialState.PRUNED]
    complete = [one for one in shown if known[one.number].state == TrialState.COMPLETE]
    assert [one.values for one in complete] == [known[one.number].values for one in complete]
    assert max(one.values[0] for one in pruned) < min(one.values[0] for one in complete)
    assert all(one.values[1:] == known[one.number].values[1:] for one in pruned)
    by_value = sorted(pruned, key=lambda one: -one.values[0])
    reached = [known[one.number].last_step for one in by_value]
    assert reached == sorted(reached, reverse=True)
    assert {known[one.number].state for one in pruned} == {TrialState.PRUNED}, "the record itself is as it was"


def test_tpe_learns_from_several_objectives():
    """Where depth changes nothing but the cost, it comes to suggest the shallow ones."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spec = new_spec(costs=("parameters",), trials=60, max_epochs=2, grace_period=2)
    record = StudyRecord(spec, MemoryJournal())
    for _ in range(60):
        assignment = record.next_assignment()
        for epoch in (1, 2):
            cost = {"parameters": assignment.params["lr"] * 1e6}
            record.report(assignment, report(epoch, 0.5 + assignment.params["width"] / 1e6, costs=cost))
    rates = [trial.params["lr"] for trial in record.records()]
    assert sum(rates[-20:]) / 20 < 0.5 * sum(rates[:10]) / 10
