"""Searcher and scheduler driven by Tune's public methods alone, without Ray or Redis: a simulator in forty lines."""

from __future__ import annotations

import heapq
import itertools
import pickle
from dataclasses import dataclass
from types import SimpleNamespace

from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from tests.factories import new_spec
from tests.trainables import scripted_score
from tuner.exchange import Assignment, Failure, Report
from tuner.search import new_search
from tuner.store.journal import MemoryJournal


def simulate(searcher, scheduler, *, workers, results=lambda number, epoch: None):
    """Run a search with `workers` slots on a clock that jumps: (finish order, simulated seconds).

    `results(number, epoch)` may return a Failure, or an exception for a lost worker; else `scripted_score` is reported.
    """
    now_s, free, order, events, ticket = 0.0, workers, [], [], itertools.count()

    def begin(trial, epoch):
        heapq.heappush(events, (now_s + 1.0, next(ticket), trial, epoch))

    while True:
        while free:
            trial_id = f"tune-{next(ticket)}"
            suggestion = searcher.suggest(trial_id)
            if suggestion == Searcher.FINISHED:
                return order, now_s
            if suggestion is None:
                break
            free -= 1
            trial = SimpleNamespace(trial_id=trial_id, error_file=None, **suggestion)
            begin(trial, trial.start_epoch + 1)
        now_s, _, trial, epoch = heapq.heappop(events)
        outcome = results(trial.number, epoch)
        if isinstance(outcome, Exception):
            scheduler.on_trial_error(None, trial)
            searcher.on_trial_complete(trial.trial_id, error=True)
            free += 1
            continue
        report = outcome or Report(epoch=epoch, score=scripted_score(trial.number, epoch), seconds=1.0)
        if scheduler.on_trial_result(None, trial, {"report": report}) == TrialScheduler.CONTINUE:
            begin(trial, epoch + 1)
            continue
        searcher.on_trial_complete(trial.trial_id, result={})
        order.append(trial.number)
        free += 1


def test_a_suggestion_is_an_assignment():
    searcher, _ = new_search(new_spec(), MemoryJournal())
    suggestion = searcher.suggest("a")
    assert Assignment(**suggestion) == Assignment(0, 1, suggestion["params"], max_epochs=9)
    assert list(suggestion["params"]) == ["lr", "width", "norm"]


def test_a_whole_search_runs_without_ray_or_redis_and_ends_by_finished():
    searcher, scheduler = new_search(new_spec(trials=30), MemoryJournal())
    order, _ = simulate(searcher, scheduler, workers=4)
    assert sorted(order) == list(range(30))
    states = {record.state for record in searcher.record.records()}
    assert states == {"complete", "pruned"}


def test_the_same_seed_and_worker_count_give_the_same_search_bit_by_bit():
    def run():
        searcher, scheduler = new_search(new_spec(trials=30), MemoryJournal())
        simulate(searcher, scheduler, workers=3)
        return searcher.record.records()

    assert run() == run()


def test_no_slot_is_left_empty_while_there_is_work():
    searcher, scheduler = new_search(new_spec(trials=40), MemoryJournal())
    _, seconds = simulate(searcher, scheduler, workers=4)
    epochs = sum(len(record.values) for record in searcher.record.records())
    assert seconds <= epochs / 4 + new_spec().max_epochs  # the end, when the last trial runs alone


def test_finished_is_said_only_when_nothing_runs_or_waits():
    searcher, scheduler = new_search(new_spec(trials=1), MemoryJournal())
    searcher.suggest("a")
    assert searcher.suggest("b") is None
    trial = SimpleNamespace(trial_id="a", error_file=None)
    scheduler.on_trial_error(None, trial)
    searcher.on_trial_complete("a", error=True)
    assert searcher.suggest("c")["attempt"] == 2
    scheduler.on_trial_result(None, SimpleNamespace(trial_id="c"), {"report": Failure("error", "boom")})
    searcher.on_trial_complete("c", result={})
    assert searcher.suggest("d") == Searcher.FINISHED


def test_lost_workers_cost_no_trial():
    lost = {(3, 1), (7, 1)}

    def results(number, epoch):
        if (number, epoch) in lost:
            lost.remove((number, epoch))
            return RuntimeError("killed")
        return None

    searcher, scheduler = new_search(new_spec(trials=12), MemoryJournal())
    order, _ = simulate(searcher, scheduler, workers=3, results=results)
    assert sorted(order) == list(range(12))
    attempts = {record.number: record.attempt for record in searcher.record.records()}
    assert {number for number, attempt in attempts.items() if attempt == 2} == {3, 7}


def test_the_cause_of_a_loss_is_the_line_in_which_python_names_it(tmp_path):
    notes = tmp_path / "error.txt"
    notes.write_text(
        "Failure # 1\nTraceback (most recent call last):\nRuntimeError: CUDA error: misaligned address\n\n"
    )
    searcher, scheduler = new_search(new_spec(), MemoryJournal())
    for attempt in range(3):
        searcher.suggest(f"a{attempt}")
        scheduler.on_trial_error(None, SimpleNamespace(trial_id=f"a{attempt}", error_file=str(notes)))
        searcher.on_trial_complete(f"a{attempt}", error=True)
    assert "CUDA error: misaligned address" in searcher.record.records()[0].reason["detail"]


def test_a_trial_stopped_from_outside_is_still_in_flight():
    searcher, _ = new_search(new_spec(), MemoryJournal())
    searcher.suggest("a")
    searcher.record.stop()
    searcher.on_trial_complete("a", result={})
    assert searcher.suggest("b") == Searcher.FINISHED
    assert searcher.record.records()[0].state == "queued"


def test_tune_may_pickle_both_and_gets_names_not_connections():
    searcher, scheduler = new_search(new_spec(), MemoryJournal())
    assert len(pickle.dumps((searcher, scheduler))) < 500


def test_a_new_worker_gets_the_lowest_number_that_no_worker_has():
    searcher, scheduler = new_search(new_spec(), MemoryJournal())

    def suggested(trial_id):
        return searcher.suggest(trial_id)["slot"]

    assert [suggested("a"), suggested("b"), suggested("c")] == [0, 1, 2]
    searcher.on_trial_complete("a", error=True)
    assert suggested("d") == 0
    # A warm worker keeps its number: number 1 took what was suggested to number 0, which is free now.
    searcher.on_trial_complete("b")
    report = Report(epoch=1, score=0.5)
    scheduler.on_trial_result(None, SimpleNamespace(trial_id="d"), {"report": report, "slot": 1})
    assert [suggested("e"), suggested("f")] == [0, 3]


@dataclass(frozen=True)
class WaitingTrial:
    """What Tune tells the scheduler of a trial."""

    trial_id: str
    status: str


def test_the_trial_that_waits_longest_is_run_and_those_that_are_over_are_not_looked_at():
    _, scheduler = new_search(new_spec(), MemoryJournal())
    nobody = SimpleNamespace(_live_actors_to_ray_actors_resources={})
    controller = SimpleNamespace(
        _tune_controller=SimpleNamespace(_trial_to_actor={}, _actor_manager=nobody, _iteration=0)
    )
    statuses = {"a": "RUNNING", "b": "PENDING", "c": "RUNNING", "d": "PENDING"}
    trials = [WaitingTrial(name, status) for name, status in statuses.items()]
    for trial in trials:
        scheduler.on_trial_add(None, trial)
    assert scheduler.choose_trial_to_run(controller) is trials[1]
    scheduler.on_trial_remove(None, trials[1])
    assert scheduler.choose_trial_to_run(controller) is trials[3]
    scheduler.on_trial_remove(None, trials[3])
    assert scheduler.choose_trial_to_run(controller) is None


def test_a_trial_that_a_process_is_being_started_for_is_not_given_to_one_that_became_free():
    _, scheduler = new_search(new_spec(), MemoryJournal())
    first, second = WaitingTrial("a", "PENDING"), WaitingTrial("b", "PENDING")
    nobody = SimpleNamespace(_live_actors_to_ray_actors_resources={})
    controller = SimpleNamespace(
        _tune_controller=SimpleNamespace(_trial_to_actor={first: "starting"}, _actor_manager=nobody, _iteration=0)
    )
    scheduler.on_trial_add(None, first)
    assert scheduler.choose_trial_to_run(controller) is None
    scheduler.on_trial_add(None, second)
    assert scheduler.choose_trial_to_run(controller) is second
