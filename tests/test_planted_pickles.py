"""Redis holds nothing that runs: a pickle planted under any key is an error or ignored."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from optuna.storages import JournalStorage

from tests.factories import new_spec
from tuner.errors import TunerError
from tuner.launch import load_study
from tuner.search.record import StudyRecord
from tuner.search.snapshots import Snapshots
from tuner.snapshot import look_at
from tuner.store import catalog, keys, lease
from tuner.store.jobs import JobRecord, read_job, write_job
from tuner.store.journal import RedisJournal
from tuner.store.snapshot import unpack


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.path),)


def documented() -> dict[str, str]:
    """Key -> type, from the table of all keys."""
    rows = re.findall(r"^    (tuner:\S+)\s+(\w+)", keys.__doc__ or "", flags=re.MULTILINE)
    return {key.replace("{name}", "{test}"): kind for key, kind in rows}


def plant(raw: redis.Redis, key: str, kind: str, content: bytes) -> None:
    raw.delete(key)
    if kind == "hash":
        raw.hset(key, "test", content)
    elif kind == "list":
        raw.rpush(key, content)
    else:
        raw.set(key, content)


def touch_everything(client: redis.Redis, held: lease.Lease) -> list[str]:
    """Read and use the study in every way there is; the errors, of which each must be one line for the user."""

    def acquire_and_run() -> None:
        client.delete(held._keys.lease)
        taken = lease.acquire(client, "test")
        StudyRecord(new_spec(), RedisJournal(client, "test", taken.fence)).next_assignment()

    steps: list[Callable[[], object]] = [
        lambda: catalog.list_studies(client),
        lambda: load_study(client, "test"),
        lambda: look_at(client, "test"),
        lambda: JournalStorage(RedisJournal(client, "test")),
        lambda: lease.refuse_if_held(client, "test"),
        held.renew,
        held.raise_if_lost,
        lambda: catalog.request_stop(client, "test", now=False),
        lambda: read_job(client, "test"),
        lambda: catalog.delete_study(client, "test"),
        acquire_and_run,
    ]
    errors = []
    for step in steps:
        try:
            step()
        except TunerError as error:
            errors.append(str(error))
    return errors


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("key", documented())
def test_a_pickle_in_any_key_is_an_error_or_ignored_and_never_run(
    redis_url: str, redis_client: redis.Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture, key: str, protocol: int
) -> None:
    catalog.create_study(redis_client, "test", new_spec().to_json())
    held = lease.acquire(redis_client, "test")
    StudyRecord(new_spec(), RedisJournal(redis_client, "test", held.fence)).next_assignment()
    touched = tmp_path / "touched"
    with redis.Redis.from_url(redis_url) as raw:
        plant(raw, key, documented()[key], pickle.dumps(Bomb(touched), protocol))
    errors = touch_everything(redis_client, held)
    # A request that asks for nothing known is only said, and nobody needs a snapshot; whatever else is planted stops
    # who needs it.
    told = key.endswith("control") and "it asks for nothing" in caplog.text
    assert errors or told or key.endswith("snapshot")
    assert [error for error in errors if "\n" in error or len(error) > 600] == []
    assert not touched.exists()
    pickle.loads(pickle.dumps(Bomb(touched), protocol))  # noqa: S301
    assert touched.exists()  # it was a bomb


def test_what_stands_under_every_key_is_text_and_no_pickle(redis_url: str, redis_client: redis.Redis) -> None:
    catalog.create_study(redis_client, "test", new_spec().to_json())
    held = lease.acquire(redis_client, "test")
    journal = RedisJournal(redis_client, "test", held.fence)
    record = StudyRecord(new_spec(), journal)
    record.next_assignment()
    Snapshots(redis_client, record.trials, journal, held.fence).close()
    catalog.request_stop(redis_client, "test", now=False)
    write_job(redis_client, "test", JobRecord("https://head:8265", "test-1"))
    with redis.Redis.from_url(redis_url) as raw:
        values = [*raw.hvals(keys.STUDIES), *raw.lrange("tuner:{test}:journal", 0, -1)]
        values += [raw.get(f"tuner:{{test}}:{what}") for what in ("spec", "lease", "fence", "job")]
        values.append(unpack(raw.get("tuner:{test}:snapshot").decode()))
    assert len(values) >= 8
    for value in values:
        json.loads(value)
