"""Entries of a journal in Redis: how large they may be, how they are read, and what is said of damaged ones."""

from __future__ import annotations

import json

import pytest
import redis

from tests.store.journals import KEYS, count_fetched, driver, entries, stored
from tuner.errors import StoreError
from tuner.store import journal
from tuner.store.journal import RedisJournal


def test_an_entry_above_one_mebibyte_is_refused_before_anything_is_written(redis_client: redis.Redis) -> None:
    writing = driver(redis_client)
    with pytest.raises(StoreError, match="an entry of 1048587 bytes is too large for the journal: at most 1048576"):
        writing.append_logs([{"n": 0}, {"text": "x" * (1 << 20)}][::-1])
    assert stored(redis_client) == []


def test_an_entry_above_one_mebibyte_is_not_read(redis_client: redis.Redis) -> None:
    redis_client.rpush(KEYS.journal, json.dumps({"text": "x" * (1 << 20)}))
    with pytest.raises(StoreError, match="entry 0 of the journal has 1048588 characters, more than 1048576"):
        RedisJournal(redis_client, "s").read_logs(0)


def test_a_journal_that_is_no_list_is_one_line(redis_client: redis.Redis) -> None:
    redis_client.set(KEYS.journal, "{}")
    with pytest.raises(StoreError, match="Redis failed while reading the journal of study 's': WRONGTYPE"):
        RedisJournal(redis_client, "s").read_logs(0)


def test_a_reader_fetches_only_what_is_new(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    writing, reading = driver(redis_client), RedisJournal(redis_client, "s")
    writing.append_logs(entries(0, 3))
    assert reading.read_logs(0) == entries(0, 3)
    fetched = count_fetched(redis_client, monkeypatch)
    writing.append_logs(entries(3, 5))
    assert reading.read_logs(3) == entries(3, 5)
    assert fetched == [3]  # the last known entry, to see that it is still there, and the two new ones


def test_a_driver_reads_without_a_round_trip(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(redis_client).append_logs(entries(0, 3))
    redis_client.delete(KEYS.lease)
    writing = driver(redis_client)
    assert writing.read_logs(0) == entries(0, 3)
    fetched = count_fetched(redis_client, monkeypatch)
    writing.append_logs(entries(3, 5))
    assert writing.read_logs(0) == entries(0, 5)
    assert fetched == []


@pytest.mark.parametrize("count", [3_999, 4_000, 10_000])
def test_long_journals_are_written_at_once_and_read_in_pages(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    driver(redis_client).append_logs(entries(0, count))
    fetched = count_fetched(redis_client, monkeypatch)
    reading = RedisJournal(redis_client, "s")
    assert reading.read_logs(0) == entries(0, count)
    assert max(fetched) == journal.PAGE_ENTRIES
    assert reading.read_logs(count - 1) == entries(count - 1, count)


@pytest.mark.parametrize("now", [[], ['{"n":0}'], ['{"n":0}', '{"n":8}', '{"n":2}', '{"n":3}']])
def test_a_reader_notices_that_the_journal_was_rolled_back(redis_client: redis.Redis, now: list[str]) -> None:
    driver(redis_client).append_logs(entries(0, 2))
    reading = RedisJournal(redis_client, "s")
    reading.read_logs(0)
    redis_client.delete(KEYS.journal)
    for text in now:
        redis_client.rpush(KEYS.journal, text)
    with pytest.raises(StoreError, match="was rolled back or deleted: entry 1, which was read before"):
        reading.read_logs(2)


@pytest.mark.parametrize("text", ["nonsense", "[1]", "3", "", '{"n":NaN}', "[" * 100_000])
def test_an_unreadable_entry_is_named(redis_client: redis.Redis, text: str) -> None:
    redis_client.rpush(KEYS.journal, '{"n":0}', text)
    reading = RedisJournal(redis_client, "s")
    with pytest.raises(StoreError) as refusal:
        reading.read_logs(0)
    expected = f"entry 1 of the journal is not a JSON object but {text[:100]!r}; the study cannot be read"
    assert str(refusal.value) == expected


def test_a_reader_without_redis_fails_at_once() -> None:
    away = redis.Redis(unix_socket_path="/nonexistent/socket", retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0))
    with pytest.raises(StoreError, match="Redis failed while reading the journal of study 's'"):
        RedisJournal(away, "s").read_logs(0)
