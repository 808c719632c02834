"""What a search begins with: conditional dimensions, given configurations and evidence, over a journal in memory."""

import dataclasses
import json

import pytest

from tests.factories import LR, NORM, WIDTH, new_space, new_spec, new_trial
from tests.search.runs import run
from tuner.exchange import Report
from tuner.search.record import StudyRecord
from tuner.spec import StudySpec
from tuner.store.journal import MemoryJournal
from tuner.study import Study, read_study
from tuner.training.checkpoint_ref import CheckpointRef
from tuner.warmstart import warm_started

MOMENTUM = {"type": "float", "low": 0.5, "high": 0.99, "log": False, "step": None, "only_if": {"norm": ["batch"]}}
CONDITIONAL = new_space(dimensions={"momentum": MOMENTUM, "lr": LR, "width": WIDTH, "norm": NORM})


def run_in_parts(spec, *parts):
    """Each part by a driver that knows only the stored spec and the journal."""
    journal = MemoryJournal()
    stored = spec.to_json()
    return [params for trials in parts for params in run(StudyRecord(StudySpec.from_json(stored), journal), trials)]


def earlier(lr=0.01, trials=40):
    """A study that found this learning rate to be good, and others the worse the farther they are from it."""
    known = []
    for number in range(trials):
        value = 1e-3 * 300 ** (number / trials)
        points = 1 / (1 + abs(value - lr) / lr)
        params = {"lr": value, "width": 16 + 16 * (number % 4), "norm": NORM["choices"][number % 2]}
        known.append(new_trial(number, state="complete", params=params, values=[(9, points)]))
    return Study(new_spec(name="first"), tuple(known), trials, None)


def test_a_dimension_that_does_not_exist_is_in_no_parameters_and_the_search_can_be_interrupted_anywhere():
    spec = new_spec(space=CONDITIONAL, trials=24)
    whole = run(StudyRecord(spec, MemoryJournal()), 24)
    assert {params["norm"] for params in whole} == {"batch", "none"}
    for params in whole:
        assert list(params) == (["momentum", "lr", "width", "norm"] if params["norm"] == "batch" else list(params))
        assert ("momentum" in params) == (params["norm"] == "batch")
    assert run_in_parts(spec, 5, 11, 8) == whole


def test_given_configurations_go_first_then_the_start_and_what_they_lack_is_sampled():
    start = {"lr": 0.05, "width": 48, "norm": "none"}
    space = dataclasses.replace(CONDITIONAL, start=start)
    given = ({"lr": 0.2, "width": 16, "norm": "batch"}, {"lr": 0.3, "width": 16, "norm": "none"})
    spec = new_spec(space=space, enqueued=given)
    record = StudyRecord(spec, MemoryJournal())
    whole = run(record, 5)
    assert {key: whole[0][key] for key in given[0]} == given[0]
    assert 0.5 <= whole[0]["momentum"] <= 0.99
    assert whole[1:3] == [given[1], start]
    assert start not in whole[3:]
    assert [trial.enqueued for trial in record.records()] == [True, True, False, False, False]
    assert record.records()[0].as_dict()["enqueued"] is True
    assert run_in_parts(spec, 1, 1, 3) == whole


def test_a_start_that_was_given_is_not_tried_twice():
    start = {"lr": 0.05, "width": 48, "norm": "none"}
    whole = run(StudyRecord(new_spec(space=new_space(start=start), enqueued=(start,)), MemoryJournal()), 2)
    assert whole[0] == start != whole[1]


def test_trials_that_continue_others_take_no_given_configuration_away():
    given = tuple({"lr": 0.1, "width": width, "norm": "none"} for width in (16, 32, 48))
    journal = MemoryJournal()
    spec = new_spec(trials=2, enqueued=given)
    record = StudyRecord(spec, journal)
    first = record.next_assignment()
    for epoch in range(1, 10):
        kept = CheckpointRef(f"/s/{epoch}", "a" * 64, epoch, 0.5)
        record.report(first, Report(epoch, 0.5, 1.0, "here:1", checkpoint=kept, best=kept))
    record.train_longer(18)
    assert [trial.continues for trial in record.records()] == [None, 0]
    again = StudyRecord(spec, journal)
    again.new.want(3)
    assert [again.next_assignment().params["width"] for _ in range(3)] == [16, 32, 48]


def test_evidence_makes_the_sampler_begin_where_the_earlier_study_ended_and_is_no_trial():
    spec, _ = warm_started(new_spec(trials=12), earlier(lr=0.2))
    journal = MemoryJournal()
    record = StudyRecord(spec, journal)
    first = [record.next_assignment().params for _ in range(8)]
    cold = StudyRecord(new_spec(trials=12), MemoryJournal())
    without = [cold.next_assignment().params for _ in range(8)]

    def near(params):
        return sum(values["lr"] > 0.1 for values in params)

    assert near(first) >= 6
    assert near(without) <= 3
    assert [trial.number for trial in record.records()] == list(range(8))
    assert record.rungs == {level: [] for level in spec.rungs()}
    study = read_study(spec, journal, None)
    assert (study.best, len(study.trials), study.status()["epochs_trained"]) == (None, 8, 0)
    assert study.status()["warm_start"] == {"study": "first", "trials": 40}


def test_with_evidence_too_a_search_interrupted_at_any_point_suggests_what_the_uninterrupted_one_does():
    spec, _ = warm_started(new_spec(trials=16), earlier())
    whole = run(StudyRecord(spec, MemoryJournal()), 16)
    assert run_in_parts(spec, 1, 7, 8) == whole
    assert whole != run(StudyRecord(dataclasses.replace(spec, evidence=spec.evidence[1:]), MemoryJournal()), 16)


def test_own_complete_trials_go_before_the_evidence_of_stopped_ones():
    """Of other data the scores may be anything: what this search finds must win over them in time."""
    before = earlier(lr=0.002)
    other = dataclasses.replace(before, spec=dataclasses.replace(before.spec, data_fingerprint="1" * 64))
    spec, _ = warm_started(new_spec(trials=60, max_epochs=9), other)
    record = StudyRecord(spec, MemoryJournal())
    params = []
    for _ in range(60):
        assignment = record.next_assignment()
        params.append(assignment.params)
        for epoch in range(1, 10):
            # Far lower scores than those of the evidence, and the best learning rate elsewhere.
            if not record.report(assignment, Report(epoch, assignment.params["lr"] / 10, 1.0, "here:1")):
                break
    assert sum(values["lr"] for values in params[-15:]) / 15 > 3 * sum(values["lr"] for values in params[:10]) / 10


@pytest.mark.parametrize("key", ["enqueued", "warm_start", "evidence"])
def test_a_spec_from_before_there_was_such_a_thing_is_read(key):
    content = json.loads(new_spec().to_json())
    del content[key]
    assert StudySpec.from_json(json.dumps(content)) == new_spec()
