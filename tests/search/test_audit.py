"""`tuner replay`: a search that the rules made is found to be as recorded; one that was tampered with is not."""

from __future__ import annotations

import json

import pytest

from tests.factories import new_spec
from tuner.exchange import Report
from tuner.search import new_search
from tuner.search.audit import audit
from tuner.store.journal import MemoryJournal


@pytest.fixture(scope="module")
def recorded():
    """A search by two workers in turn, of which one is lost on the way."""
    spec = new_spec(trials=14)
    journal = MemoryJournal()
    record = new_search(spec, journal)[0].record
    running = [record.next_assignment(), record.next_assignment()]
    epochs = [0, 0]
    steps = 0
    while any(running):
        steps += 1
        for worker in (0, 1):
            assignment = running[worker]
            if assignment is None:
                continue
            if steps == 5 and worker == 1:
                record.lose(assignment, "its process ended")
                goes_on = False
            else:
                epochs[worker] += 1
                width = assignment.params["width"]
                score = 0.5 + 0.01 * ((assignment.number * 7) % 11) + 0.001 * epochs[worker] + width / 1e5
                goes_on = record.report(assignment, Report(epoch=epochs[worker], score=score))
            if not goes_on:
                running[worker] = record.next_assignment()
                epochs[worker] = running[worker].start_epoch if running[worker] else 0
    return spec, journal.read_logs(0)


def journal_of(entries):
    journal = MemoryJournal()
    journal.append_logs(json.loads(json.dumps(entries)))
    return journal


def test_a_search_as_the_rules_made_it_has_no_difference(recorded):
    spec, entries = recorded
    walked = []
    found = audit(spec, journal_of(entries), lambda done, of: walked.append((done, of)))
    assert found.differences == []
    assert found.suggestions == spec.trials
    assert found.decisions >= spec.trials
    assert walked[-1] == (len(entries), len(entries))


def test_a_trial_with_other_parameters_than_the_sampler_gives_is_named(recorded):
    spec, entries = recorded
    changed = json.loads(json.dumps(entries))
    created = [entry for entry in changed if entry["op_code"] == 4]
    created[3]["params"]["lr"] = 0.123
    found = audit(spec, journal_of(changed))
    assert any(line.startswith("trial 3 was given {'lr': 0.123,") for line in found.differences)


def test_a_score_that_was_changed_afterwards_shows_in_the_decisions(recorded):
    spec, entries = recorded
    changed = json.loads(json.dumps(entries))
    scores = [entry for entry in changed if entry["op_code"] == 7 and entry["step"] == 1]
    scores[-1]["intermediate_value"] = 1.0 if scores[-1]["intermediate_value"] < 0.6 else 0.0
    found = audit(spec, journal_of(changed))
    assert any("at the rung of epoch 1" in line for line in found.differences)


def test_another_seed_would_have_suggested_other_trials(recorded):
    _, entries = recorded
    found = audit(new_spec(trials=14, seed=1), journal_of(entries))
    assert len(found.differences) == 14
