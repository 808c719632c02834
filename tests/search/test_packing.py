"""Trials that share GPUs, as the record and the searcher have them: no Ray, and memory that is only said."""

from __future__ import annotations

import pytest

from tests.factories import new_space, new_spec
from tuner.exchange import Failure, Report
from tuner.packing import Memory
from tuner.search.packing import Packing
from tuner.search.record import StudyRecord
from tuner.search.searcher import StudySearcher
from tuner.store.journal import MemoryJournal
from tuner.training.checkpoint_ref import CheckpointRef

MIB, GIB = 1 << 20, 1 << 30
WIDTH = {"type": "int", "low": 16, "high": 64, "log": False, "step": 16}
OUT_OF_MEMORY = Failure("out_of_memory", "tried to allocate 9 GiB")


def life(journal, **changes):
    """A driver's life; by theory a trial of width 64 needs 576 MiB."""
    space = new_space(dimensions={"width": WIDTH})
    packing = Packing(0.125, lambda params: params["width"] * 9 * MIB)
    return StudyRecord(new_spec(space=space, grace_period=9, **changes), journal, packing=packing)


def report(epoch, own=None, *, saved=True, micro_batch=0):
    memory = None if own is None else Memory(own, 0, 16 * GIB)
    checkpoint = CheckpointRef(f"/s/{epoch}", "0" * 64, epoch, 0.5) if saved else None
    return Report(
        epoch=epoch, score=0.5, memory=memory, checkpoint=checkpoint, best=checkpoint, micro_batch=micro_batch
    )


@pytest.fixture
def journal():
    return MemoryJournal()


def test_the_first_trials_have_a_gpu_each_until_one_has_told_what_it_holds_and_go_on_in_parts(journal):
    record = life(journal)
    first, second = record.next_assignment(), record.next_assignment()
    assert (first.part, second.part) == (1.0, 1.0)
    assert record.report(first, report(1, 300 * MIB, saved=False)), "nothing to go on from yet"
    assert record.next_assignment().part == 0.125
    assert not record.report(first, report(2)), "it moves"
    again = record.next_assignment()
    assert (again.number, again.attempt, again.part, again.start_epoch) == (0, 2, 0.125, 2)
    assert record.report(again, report(3, 310 * MIB)), "once"
    trial = record.records()[0]
    assert (trial.state, [epoch for epoch, _ in trial.values]) == ("running", [1, 2, 3])
    assert [attempt.share.gpus for attempt in trial.usage.attempts] == [1.0, 0.125]


def test_a_trial_that_needs_its_whole_gpu_keeps_it(journal):
    record = life(journal)
    first = record.next_assignment()
    assert record.report(first, report(1, 14 * GIB))
    assert record.next_assignment().part == 1.0


def test_memory_that_runs_out_in_a_part_costs_the_trial_nothing_up_to_a_whole_gpu_where_it_fails(journal):
    record = life(journal)
    record.report(record.next_assignment(), report(1, 300 * MIB))
    record.next_assignment()
    parts = []
    while (assignment := record.next_assignment()).part < 1:
        parts.append(assignment.part)
        assert not record.report(assignment, OUT_OF_MEMORY)
        assert record.records()[1].state == "queued"
    assert (assignment.number, parts) == (1, [0.125, 0.25, 0.5])
    restarts = record.trials[1].user_attrs["restarts"]
    assert restarts[-1] == "out of memory in 1/2 of a GPU (tried to allocate 9 GiB): goes on in a whole GPU"
    assert "losses" not in record.trials[1].user_attrs
    record.report(assignment, OUT_OF_MEMORY)
    assert record.records()[1].reason == {"kind": "out_of_memory", "detail": "tried to allocate 9 GiB"}
    assert not record.brake.ended_the_search


def test_a_part_that_was_too_small_for_one_is_too_small_for_others_like_it(journal):
    record = life(journal, enqueued=({"width": 16}, {"width": 16}, {"width": 16}, {"width": 64}))
    record.report(record.next_assignment(), report(1, 300 * MIB))
    record.next_assignment()
    small = record.next_assignment()
    assert small.part == 0.125
    record.report(small, OUT_OF_MEMORY)
    assert [record.next_assignment().part for _ in range(3)] == [0.25, 0.25, 0.5]


def test_who_had_to_train_in_micro_batches_tells_that_a_gpu_is_too_small_for_whole_ones(journal):
    record = life(journal)
    first = record.next_assignment()
    record.report(first, report(1, 6 * GIB, micro_batch=32))
    assert record.next_assignment().part == 1.0


def test_a_later_life_knows_from_the_journal_what_an_earlier_one_learned(journal):
    enqueued = tuple({"width": width} for width in (64, 16, 64, 32, 16, 48))
    record = life(journal, enqueued=enqueued)
    record.report(record.next_assignment(), report(1, 2 * GIB))
    record.next_assignment()
    record.report(record.next_assignment(), OUT_OF_MEMORY)
    before = [record.packing.part(99, {"width": width}, {}) for width in (16, 32, 48, 64)]
    later = life(journal, enqueued=enqueued)
    assert [later.packing.part(99, {"width": width}, {}) for width in (16, 32, 48, 64)] == before
    assert before[0] < before[-1], "and it depends on the configuration"
    assert later.next_assignment().part < 1


def test_without_sharing_memory_is_not_looked_at_and_a_trial_without_any_fails(journal):
    record = StudyRecord(new_spec(), journal)
    first = record.next_assignment()
    assert first.part == 1.0
    assert not record.report(first, OUT_OF_MEMORY)
    assert record.records()[0].state == "failed"


def test_attempts_count_by_their_parts_and_none_is_handed_out_while_one_waits_for_its_part(journal):
    record = life(journal, trials=20)
    searcher = StudySearcher(record, capacity=lambda: 1)
    record.report(record.next_assignment(), report(1, 300 * MIB))
    handed_out = [searcher.suggest(str(number)) for number in range(9)]
    assert [one["part"] for one in handed_out if one] == [0.125] * 8
    assert handed_out[8] is None
    searcher.on_trial_complete("3", result={})
    searcher.one_waits = True
    assert searcher.suggest("9") is None
    searcher.one_waits = False
    assert searcher.suggest("10")["part"] == 0.125
