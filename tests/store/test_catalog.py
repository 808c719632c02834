from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
import redis

from tuner.errors import LeaseHeld, StoreError, StudyExists, StudyNotFound, UsageError
from tuner.store import catalog, client, identity, lease
from tuner.store.keys import CREATED, STUDIES, StudyKeys


def test_a_created_study_is_found_with_its_spec_its_time_and_its_user(redis_client: redis.Redis) -> None:
    before_s = client.server_time_s(redis_client)
    catalog.create_study(redis_client, "b", '{"format":1}')
    catalog.create_study(redis_client, "a", "{}")
    (first, created_s, user), (second, _, _) = catalog.list_studies(redis_client)
    assert (first, second, user) == ("b", "a", identity.user_name())
    assert before_s <= created_s <= client.server_time_s(redis_client)
    assert catalog.newest(redis_client) == "a"
    assert catalog.read_spec(redis_client, "b") == '{"format":1}'


def test_the_newest_study_is_the_one_created_last_though_the_clock_was_set_back(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_client.hset(STUDIES, "of-an-older-version", '{"created_s":9e9,"user":"ann"}')
    for name, now_s in [("b", 20_000.0), ("a", 12_800.0), ("c", 12_800.0)]:
        monkeypatch.setattr(catalog, "server_time_s", lambda client, now_s=now_s: now_s)
        catalog.create_study(redis_client, name, "{}")
    assert [study[0] for study in catalog.list_studies(redis_client)] == ["of-an-older-version", "b", "a", "c"]
    assert catalog.newest(redis_client) == "c"


def test_a_name_that_exists_is_refused_with_the_line_that_resumes_it(redis_client: redis.Redis) -> None:
    catalog.create_study(redis_client, "a", "first")
    listed = catalog.list_studies(redis_client)
    with pytest.raises(StudyExists, match="there is a study 'a' already; go on with it by `tuner resume a`"):
        catalog.create_study(redis_client, "a", "second")
    assert catalog.read_spec(redis_client, "a") == "first"
    assert catalog.list_studies(redis_client) == listed


def test_an_unknown_study_is_answered_with_the_newest_five(redis_client: redis.Redis) -> None:
    for number in range(7):
        catalog.create_study(redis_client, f"s{number}", "{}")
    with pytest.raises(StudyNotFound) as refusal:
        catalog.read_spec(redis_client, "x")
    assert str(refusal.value) == "there is no study 'x'; there are s6, s5, s4, s3, s2, ... (newest first)"


def test_an_empty_store_says_how_to_start(redis_client: redis.Redis) -> None:
    with pytest.raises(StudyNotFound, match="there is no study yet; start one with `tuner search digits`"):
        catalog.newest(redis_client)
    with pytest.raises(StudyNotFound, match="there is no study 'x', nor any other; start one with"):
        catalog.delete_study(redis_client, "x")


def test_a_free_name_counts_on_and_stays_a_name(redis_client: redis.Redis) -> None:
    names = []
    for _ in range(3):
        names.append(catalog.free_name(redis_client, "a" * 64))
        catalog.create_study(redis_client, names[-1], "{}")
    assert names == ["a" * 64, "a" * 62 + "-2", "a" * 62 + "-3"]
    with pytest.raises(UsageError):
        catalog.free_name(redis_client, "A b")


def test_a_study_that_is_run_is_not_deleted(redis_client: redis.Redis) -> None:
    catalog.create_study(redis_client, "a", "{}")
    held = lease.acquire(redis_client, "a")
    with pytest.raises(LeaseHeld, match="study 'a' is run by process"):
        catalog.delete_study(redis_client, "a")
    assert catalog.read_spec(redis_client, "a") == "{}"
    held.release()
    catalog.delete_study(redis_client, "a")
    assert catalog.list_studies(redis_client) == []


def test_a_dead_driver_does_not_keep_its_study_from_deletion(redis_client: redis.Redis) -> None:
    catalog.create_study(redis_client, "a", "{}")
    me = lease.acquire(redis_client, "a").holder
    dead = dataclasses.replace(me, process_start=me.process_start - 1)
    redis_client.set(StudyKeys("a").lease, dead.to_json(), px=30_000)
    assert not catalog.request_stop(redis_client, "a", now=True)
    catalog.delete_study(redis_client, "a")
    assert set(redis_client.keys("*")) == {CREATED, StudyKeys("a").fence}


def test_a_study_made_again_under_its_old_name_draws_a_fence_that_was_never_given(redis_client: redis.Redis) -> None:
    catalog.create_study(redis_client, "a", "{}")
    old = lease.acquire(redis_client, "a")
    old.release()
    catalog.delete_study(redis_client, "a")
    catalog.create_study(redis_client, "a", "{}")
    assert lease.acquire(redis_client, "a").fence > old.fence


@pytest.mark.parametrize(("now", "asked"), [(False, lease.STOP), (True, lease.STOP_NOW)])
def test_a_running_study_is_asked_to_stop(redis_client: redis.Redis, now: bool, asked: str) -> None:
    catalog.create_study(redis_client, "a", "{}")
    held = lease.acquire(redis_client, "a")
    assert catalog.request_stop(redis_client, "a", now=now)
    assert held.renew() == asked


def test_a_study_that_nobody_runs_is_not_asked(redis_client: redis.Redis) -> None:
    catalog.create_study(redis_client, "a", "{}")
    assert not catalog.request_stop(redis_client, "a", now=True)
    assert redis_client.get(StudyKeys("a").control) is None
    with pytest.raises(StudyNotFound):
        catalog.request_stop(redis_client, "b", now=True)


def test_an_unreadable_record_is_one_line(redis_client: redis.Redis) -> None:
    redis_client.hset(STUDIES, "a", "nonsense")
    with pytest.raises(StoreError, match="the record of study 'a' in tuner:studies cannot be read: 'nonsense'"):
        catalog.list_studies(redis_client)


def test_status_needs_neither_optuna_nor_ray_nor_torch() -> None:
    code = (
        "import sys, tuner.store.catalog, tuner.store.embedded; "
        "assert not {'optuna', 'ray', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a", '{"created_s":1e300,"user":"ann"}'),
        ("a", '{"created_s":NaN,"user":"ann"}'),
        ("a", '{"created_s":-1,"user":"ann"}'),
        ("a", "[" * 100_000),
        ("a", '{"created_s":1,"order":"x","user":"ann"}'),
        ("../a", '{"created_s":1,"user":"ann"}'),
    ],
)
def test_a_record_that_the_program_never_writes_is_one_line(redis_client: redis.Redis, name: str, text: str) -> None:
    redis_client.hset(STUDIES, name, text)
    with pytest.raises(StoreError) as refusal:
        catalog.list_studies(redis_client)
    assert str(refusal.value) == f"the record of study {name!r} in tuner:studies cannot be read: {text[:100]!r}"
