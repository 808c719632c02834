"""Appends to a journal in Redis: fenced, applied once, and patient while Redis is away."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import redis

from tests.store.journals import KEYS, Clock, Unreliable, driver, entries, stored, whole_study
from tuner.errors import LeaseLost, StoreError, StoreUnavailable
from tuner.store import catalog, journal
from tuner.store.journal import RedisJournal


def test_entries_are_canonical_json(redis_client: redis.Redis) -> None:
    driver(redis_client).append_logs([{"b": 1, "a": {"d": [1.5], "c": "é"}}])
    assert stored(redis_client) == ['{"a":{"c":"\\u00e9","d":[1.5]},"b":1}']


def test_a_journal_without_a_fence_only_reads(redis_client: redis.Redis) -> None:
    reading = RedisJournal(redis_client, "s")
    for write in (lambda: reading.append_logs(entries(0, 1)), lambda: whole_study(reading)):
        with pytest.raises(StoreError, match="the journal of study 's' is open for reading only"):
            write()
    assert stored(redis_client) == []


def test_a_driver_that_was_taken_over_is_refused(redis_client: redis.Redis) -> None:
    old = driver(redis_client)
    old.append_logs(entries(0, 1))
    redis_client.delete(KEYS.lease)
    new = driver(redis_client)
    with pytest.raises(LeaseLost, match="this driver holds fence 1, the newest is 2"):
        old.append_logs(entries(1, 2))
    new.append_logs(entries(5, 6))
    assert new.read_logs(0) == [*entries(0, 1), *entries(5, 6)]


def test_a_driver_whose_study_was_deleted_is_refused_though_nobody_took_over(redis_client: redis.Redis) -> None:
    catalog.create_study(redis_client, "s", "{}")
    old = driver(redis_client)
    redis_client.delete(KEYS.lease)  # suspended until it expired
    catalog.delete_study(redis_client, "s")
    with pytest.raises(LeaseLost, match="holds fence 1, the newest is 2"):
        old.append_logs(entries(0, 1))


@pytest.mark.parametrize("lost", [redis.ConnectionError("reset"), redis.TimeoutError("late")])
def test_an_append_whose_reply_was_lost_is_applied_once(redis_client: redis.Redis, lost: Exception) -> None:
    clock = Clock()
    writing = driver(redis_client, clock=clock, sleep=clock.sleep)
    writing.append_logs(entries(0, 2))
    unreliable = Unreliable(writing, after=[lost, lost])
    with writing.transition():
        writing.append_logs(entries(2, 5))
    assert unreliable.calls == 3
    writing.append_logs(entries(5, 6))
    assert RedisJournal(redis_client, "s").read_logs(0) == writing.read_logs(0) == entries(0, 6)


@pytest.mark.parametrize(
    ("away", "what_to_do"),
    [
        (redis.BusyLoadingError("loading"), ""),
        (redis.ReadOnlyError("replica"), ""),
        (redis.OutOfMemoryError("full"), "; give it more memory: CONFIG SET maxmemory BYTES"),
        (
            redis.ResponseError("in script: OOM command not allowed"),
            "; give it more memory: CONFIG SET maxmemory BYTES",
        ),
        (redis.ResponseError("MISCONF"), "; it cannot write its file: free disk space where it keeps its data"),
    ],
)
def test_an_append_outlasts_an_outage(
    redis_client: redis.Redis, away: Exception, what_to_do: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    writing = driver(redis_client, clock=clock, sleep=clock.sleep)
    Unreliable(writing, before=[away] * 100)
    writing.append_logs(entries(0, 1))
    assert stored(redis_client) == ['{"n":0}']
    assert 400 < clock.now_s < 600
    assert [record.getMessage() for record in caplog.records] == [
        f"Redis failed while appending to the journal of study 's': {away}{what_to_do}; waiting for it, 600 s at most",
        f"Redis answers again, after {clock.now_s:.0f} s",
    ]


def test_an_append_gives_up_when_its_time_is_over(redis_client: redis.Redis) -> None:
    clock = Clock()
    writing = driver(redis_client, clock=clock, sleep=clock.sleep, retry_s=60.0)
    Unreliable(writing, before=[redis.ConnectionError("refused")] * 1000)
    with pytest.raises(StoreUnavailable) as end:
        writing.append_logs(entries(0, 1))
    assert 60 <= clock.now_s <= 65
    assert str(end.value) == (
        "Redis failed while appending to the journal of study 's': refused; it stayed so for "
        f"{clock.now_s:.0f} s. Nothing that was recorded is lost: mend it, then `tuner resume s`"
    )
    assert end.value.exit_code == 69


@pytest.mark.parametrize("refusal", [redis.AuthenticationError("no"), redis.ResponseError("WRONGTYPE")])
def test_an_append_that_redis_refuses_is_not_repeated(redis_client: redis.Redis, refusal: Exception) -> None:
    writing = driver(redis_client)
    unreliable = Unreliable(writing, before=[refusal])
    with pytest.raises(StoreError, match=str(refusal)):
        writing.append_logs(entries(0, 1))
    assert unreliable.calls == 1


def test_after_an_append_of_unknown_end_the_journal_asks_redis(redis_client: redis.Redis) -> None:
    writing = driver(redis_client, retry_s=0.0)
    Unreliable(writing, after=[redis.TimeoutError("late")])
    with pytest.raises(StoreError), writing.transition():
        writing.append_logs(entries(0, 2))
    assert writing.read_logs(0) == entries(0, 2)
    writing.append_logs(entries(2, 3))
    assert RedisJournal(redis_client, "s").read_logs(0) == entries(0, 3)


@pytest.mark.parametrize(
    ("others", "length"),
    [(['{"n":8}'], 1), (['{"n":0}', '{"n":1}', '{"n":8}'], 3), (['{"n":0}', '{"n":1}'] * 2, 4)],
    ids=["another-beginning", "as-long-as-expected-but-different", "longer"],
)
def test_a_journal_that_is_not_as_it_was_left_is_an_error_with_both_lengths(
    redis_client: redis.Redis, others: list[str], length: int
) -> None:
    writing = driver(redis_client)
    writing.append_logs(entries(0, 2))
    redis_client.delete(KEYS.journal)
    for text in others:
        redis_client.rpush(KEYS.journal, text)
    with pytest.raises(StoreError, match=f"holds {length} entries where its driver left 2"):
        writing.append_logs(entries(2, 3))
    assert stored(redis_client) == others


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_entries_that_redis_lost_are_written_again_with_the_next(
    redis_client: redis.Redis, kept: int, caplog: pytest.LogCaptureFixture
) -> None:
    writing = driver(redis_client)
    writing.append_logs(entries(0, 3))
    redis_client.ltrim(KEYS.journal, 0, kept - 1) if kept else redis_client.delete(KEYS.journal)
    with writing.transition():
        writing.append_logs(entries(3, 5))
    assert RedisJournal(redis_client, "s").read_logs(0) == writing.read_logs(0) == entries(0, 5)
    assert [f"lost the newest {3 - kept} entries" in record.getMessage() for record in caplog.records] == [True] * (
        kept < 3
    )


def test_a_long_loss_is_mended_whole(redis_client: redis.Redis) -> None:
    count = 2 * journal.PAGE_ENTRIES + 1
    writing = driver(redis_client)
    writing.append_logs(entries(0, count))
    redis_client.ltrim(KEYS.journal, 0, journal.PAGE_ENTRIES)
    writing.append_logs(entries(count, count + 1))
    assert RedisJournal(redis_client, "s").read_logs(0) == entries(0, count + 1)


@pytest.mark.parametrize("fence", [None, "4", "nonsense"])
def test_a_redis_that_forgot_the_lease_is_not_written_to(redis_client: redis.Redis, fence: str | None) -> None:
    redis_client.set(KEYS.fence, 4)
    writing = driver(redis_client)
    writing.append_logs(entries(0, 1))
    redis_client.flushall()
    if fence is not None:
        redis_client.set(KEYS.fence, fence)
    with pytest.raises(StoreError, match="does not know the driver of study 's' any more") as refusal:
        writing.append_logs(entries(1, 2))
    assert f"(fence 5, it has {'none' if fence is None else repr(fence)})" in str(refusal.value)
    assert stored(redis_client) == []


def test_a_wait_ends_with_one_more_try_when_the_driver_gives_up(redis_client: redis.Redis) -> None:
    clock, lost = Clock(), threading.Event()
    writing = driver(redis_client, clock=clock, gives_up=lost.is_set, sleep=lambda seconds: lost.set())
    unreliable = Unreliable(writing, before=[redis.ConnectionError("refused")] * 9)
    with pytest.raises(StoreUnavailable):
        writing.append_logs(entries(0, 1))
    assert unreliable.calls == 2


def test_a_redis_that_died_is_revived_between_two_tries(redis_client: redis.Redis) -> None:
    tries: list[str] = []

    def revive() -> None:
        tries.append("revive")
        raise StoreError("its file is damaged")

    clock = Clock()
    writing = driver(redis_client, clock=clock, sleep=clock.sleep, retry_s=0.2, revive=revive)
    Unreliable(writing, before=[redis.ConnectionError("refused")] * 9)
    with pytest.raises(StoreUnavailable, match="refused; it cannot be started again: its file is damaged; it stayed"):
        writing.append_logs(entries(0, 1))
    assert tries == ["revive"] * 2  # not after the last try


def test_reading_can_be_given_patience(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(redis_client).append_logs(entries(0, 1))
    lrange, failures = redis_client.lrange, [redis.ConnectionError("reset"), redis.TimeoutError("late")]

    def unreliable(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return lrange(*args)

    monkeypatch.setattr(redis_client, "lrange", unreliable)
    clock = Clock()
    reading = RedisJournal(redis_client, "s", retry_s=60.0, clock=clock, sleep=clock.sleep)
    assert reading.read_logs(0) == entries(0, 1)
    assert failures == []
