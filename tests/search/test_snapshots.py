"""When a driver keeps a snapshot of its study in Redis, and who takes it."""

from __future__ import annotations

import itertools
import math
import threading

import orjson
import pytest

from tests.factories import new_spec
from tests.test_snapshot import everything
from tuner.errors import LeaseHeld, StoreError
from tuner.exchange import Report
from tuner.search import snapshots as snapshots_module
from tuner.search.record import StudyRecord
from tuner.search.snapshots import Snapshots
from tuner.snapshot import look_at
from tuner.store import catalog, lease
from tuner.store.journal import RedisJournal
from tuner.store.keys import StudyKeys
from tuner.store.snapshot import pack, read_snapshot, write_snapshot
from tuner.study import read_study

KEYS = StudyKeys("test")


@pytest.fixture
def driver(redis_client):
    """A study in Redis and its driver, which has trained two trials and runs a third."""
    catalog.create_study(redis_client, "test", new_spec().to_json())
    held = lease.acquire(redis_client, "test")
    journal = RedisJournal(redis_client, "test", held.fence)
    record = StudyRecord(new_spec(), journal)
    for _ in range(3):
        assignment = record.next_assignment()
    for epoch in range(1, 10):
        for number in (0, 1):
            if number in record.live:
                record.report(record.live[number], Report(epoch, 0.5 + number / 10, seconds=1.0))
    assert assignment.number == 2
    yield record, journal, held
    held.release()


def snapshots_of(client, driver):
    record, journal, held = driver
    return Snapshots(client, record.trials, journal, held.fence)


def test_who_looks_takes_the_snapshot_and_reads_the_journal_only_from_there_on(redis_client, driver, monkeypatch):
    record, _, held = driver
    snapshots_of(redis_client, driver).close()
    covered = orjson.loads(read_snapshot(redis_client, "test"))["entries"]
    record.report(record.live[2], Report(1, 0.9))
    whole = read_study(new_spec(), RedisJournal(redis_client, "test"), held.holder.describe())
    starts = []
    lrange = redis_client.lrange
    monkeypatch.setattr(redis_client, "lrange", lambda key, *at: starts.append(at[0]) or lrange(key, *at))
    assert everything(look_at(redis_client, "test")) == everything(whole)
    assert starts == [covered - 1]
    assert whole.counts["running"] == 1


def test_without_a_snapshot_or_with_a_strange_one_the_journal_is_read(redis_client, driver):
    whole = look_at(redis_client, "test")
    assert len(whole.trials) == 3
    for plant in (
        lambda: redis_client.set(KEYS.snapshot, "{}"),
        lambda: redis_client.set(KEYS.snapshot, pack([b"{}"])),
        lambda: redis_client.set(KEYS.snapshot, pack([b"{}"])[:-4]),
        lambda: redis_client.set(KEYS.snapshot, b"\xff\xfe"),
        lambda: redis_client.delete(KEYS.snapshot) and redis_client.rpush(KEYS.snapshot, "{}"),
    ):
        plant()
        assert everything(look_at(redis_client, "test")) == everything(whole)


def test_a_driver_that_was_taken_over_writes_no_snapshot(redis_client, driver):
    snapshots = snapshots_of(redis_client, driver)
    redis_client.incr(KEYS.fence)
    snapshots.close()
    assert read_snapshot(redis_client, "test") is None
    assert not write_snapshot(redis_client, "test", driver[2].fence, pack([b"{}"]))
    assert write_snapshot(redis_client, "test", driver[2].fence + 1, pack([b"{}"]))


def test_a_snapshot_goes_with_its_study_and_never_passes_for_that_of_another_one(redis_client, driver):
    held = driver[2]
    snapshots_of(redis_client, driver).close()
    text = read_snapshot(redis_client, "test")
    with pytest.raises(LeaseHeld):
        catalog.delete_study(redis_client, "test")
    held.release()
    catalog.delete_study(redis_client, "test")
    assert read_snapshot(redis_client, "test") is None
    # The same study once more, by whoever left the snapshot there.
    catalog.create_study(redis_client, "test", new_spec().to_json())
    again = lease.acquire(redis_client, "test")
    StudyRecord(new_spec(), RedisJournal(redis_client, "test", again.fence)).next_assignment()
    redis_client.set(KEYS.snapshot, pack([text]))
    assert len(look_at(redis_client, "test").trials) == 1
    again.release()


def test_a_snapshot_is_made_whenever_the_journal_has_grown_by_a_part(redis_client, driver, monkeypatch):
    record, journal, _ = driver
    monkeypatch.setattr(snapshots_module, "FIRST_ENTRIES", 3)
    snapshots = snapshots_of(redis_client, driver)
    made = [0]
    for number in range(40):
        record.remember(f"note-{number}", number)
        snapshots.changed()
        if snapshots._newest is not None:
            snapshots._newest.result(10)
        made.append(orjson.loads(read_snapshot(redis_client, "test"))["entries"])
    steps = [later - earlier for earlier, later in itertools.pairwise(sorted(set(made)))]
    assert len(steps) > 3
    assert steps == [made[1], *(max(3, math.ceil(0.2 * entries)) for entries in sorted(set(made))[1:-1])]
    snapshots.close()
    assert orjson.loads(read_snapshot(redis_client, "test"))["entries"] == journal.length()
    thread = next(one for one in threading.enumerate() if one.name == "snapshot")
    snapshots.end()
    thread.join(10)
    assert not thread.is_alive()


def test_a_snapshot_that_cannot_be_written_disturbs_nobody(redis_client, driver, monkeypatch, caplog):
    caplog.set_level("INFO")

    def broken(*_arguments):
        raise StoreError("Redis is full")

    monkeypatch.setattr(snapshots_module, "write_snapshot", broken)
    snapshots = snapshots_of(redis_client, driver)
    snapshots.close()
    assert "no snapshot was made of study 'test', whose journal is read instead: Redis is full" in caplog.text
    assert len(look_at(redis_client, "test").trials) == 3


def test_a_driver_that_was_interrupted_in_the_middle_of_a_commit_leaves_without_a_snapshot(redis_client, driver):
    record, journal, _ = driver

    def interrupted():
        with journal.transition():
            record.trials.set(2, "reason", {"kind": "error"})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    snapshots_of(redis_client, driver).close()
    assert read_snapshot(redis_client, "test") is None
