"""A study that is watched from elsewhere is the one that its journal holds, at any moment, at a small price."""

from __future__ import annotations

import pytest
import redis
from rich.console import Console

from tests.factories import new_spec
from tuner import attach
from tuner.attach import Follower
from tuner.errors import StoreUnavailable, StudyNotFound
from tuner.exchange import Report
from tuner.launch import load_study
from tuner.search.record import StudyRecord
from tuner.store import catalog, lease
from tuner.store.journal import RedisJournal


@pytest.fixture
def record(redis_client: redis.Redis):
    """Of a driver that runs."""
    spec = new_spec(trials=6)
    catalog.create_study(redis_client, "test", spec.to_json())
    held = lease.acquire(redis_client, "test")
    yield StudyRecord(spec, RedisJournal(redis_client, "test", held.fence))
    held.release()


def test_at_any_moment_it_is_the_study_that_status_tells_and_only_what_changed(redis_client, record) -> None:
    follower = Follower(redis_client, record.spec)
    assert (follower.poll(), follower.study) == ([], load_study(redis_client, "test"))
    first, second = record.next_assignment(), record.next_assignment()
    assert [(trial.number, trial.state) for trial in follower.poll()] == [(0, "running"), (1, "running")]
    assert follower.poll() == []
    record.report(second, Report(epoch=1, score=0.5, worker="a:1 (CPU)"))
    (changed,) = follower.poll()
    assert (changed.number, changed.values) == (1, [(1, 0.5)])
    record.report(first, Report(epoch=1, score=0.1))
    record.new.want(9)
    follower.poll()
    assert follower.study.trials_wanted == 9
    assert follower.study == load_study(redis_client, "test")


def test_trials_in_flight_are_queued_once_their_driver_is_gone(redis_client, record) -> None:
    follower = Follower(redis_client, record.spec)
    record.next_assignment()
    assert [trial.state for trial in follower.poll()] == ["running"]
    redis_client.delete("tuner:{test}:lease")
    assert [trial.state for trial in follower.poll()] == ["queued"]
    assert follower.study.state == "stopped"


def test_a_poll_fetches_and_folds_what_is_new_and_not_the_study_again(redis_client, record, monkeypatch) -> None:
    follower = Follower(redis_client, record.spec)
    for _ in range(5):
        assignment = record.next_assignment()
        record.report(assignment, Report(epoch=1, score=0.5 - 0.1 * assignment.number))
    follower.poll()
    folded = []
    fold = attach.fold_trial
    monkeypatch.setattr(
        attach, "fold_trial", lambda spec, trial, *, life: folded.append(trial.number) or fold(spec, trial, life=life)
    )
    finished = {trial.number for trial in follower.study.trials if trial.is_finished}
    assert finished
    fetched = []
    page = RedisJournal._page
    monkeypatch.setattr(
        RedisJournal, "_page", lambda self, start: fetched.extend(page(self, start)) or page(self, start)
    )
    record.next_assignment()
    assert [trial.number for trial in follower.poll()] == [5]
    assert finished.isdisjoint(folded)
    assert 0 < len(fetched) < 10


def test_watching_ends_with_the_driver_and_bears_a_redis_that_is_away(redis_client, record, monkeypatch) -> None:
    record.next_assignment()
    waits = iter(["away", "away", "ends"])

    def sleep(_seconds: float) -> None:
        what = next(waits)
        if what == "ends":
            monkeypatch.setattr(Follower, "poll", poll)
            redis_client.delete("tuner:{test}:lease")
        else:
            monkeypatch.setattr(Follower, "poll", fail)

    def fail(_self: Follower) -> None:
        raise StoreUnavailable("Redis failed while reading")

    poll = Follower.poll
    monkeypatch.setattr(attach.time, "sleep", sleep)
    console = Console(width=200, record=True)
    study = attach.watch(redis_client, "test", console)
    assert study == load_study(redis_client, "test")
    assert "trial 0 goes back to the queue after attempt 1" in console.export_text()
    assert attach.watch(redis_client, "test", console) == study
    assert next(waits, None) is None


def test_a_redis_that_stays_away_ends_the_watching_after_ten_minutes(redis_client, record, monkeypatch) -> None:
    clock = [0.0]

    def sleep(_seconds: float) -> None:
        clock[0] += 100
        monkeypatch.setattr(Follower, "poll", fail)

    def fail(_self: Follower) -> None:
        raise StoreUnavailable("Redis failed while reading")

    monkeypatch.setattr(attach.time, "sleep", sleep)
    monkeypatch.setattr(attach.time, "monotonic", lambda: clock[0])
    with pytest.raises(StoreUnavailable):
        attach.watch(redis_client, "test", Console(quiet=True))
    assert 600 < clock[0] <= 900


def test_a_study_that_is_not_there_is_said(redis_client) -> None:
    with pytest.raises(StudyNotFound, match="there is no study 'none'"):
        attach.watch(redis_client, "none", Console())
