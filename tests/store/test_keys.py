from __future__ import annotations

import re
import uuid

import pytest
import redis

from tuner.errors import UsageError
from tuner.store import catalog, keys, lease
from tuner.store.jobs import JobRecord, write_job
from tuner.store.journal import RedisJournal
from tuner.store.snapshot import write_snapshot


def test_the_keys_of_a_study_share_a_cluster_slot() -> None:
    study = keys.StudyKeys("a-1")
    assert [study.spec, study.journal, study.snapshot, study.lease, study.fence, study.control, study.job] == [
        "tuner:{a-1}:spec",
        "tuner:{a-1}:journal",
        "tuner:{a-1}:snapshot",
        "tuner:{a-1}:lease",
        "tuner:{a-1}:fence",
        "tuner:{a-1}:control",
        "tuner:{a-1}:job",
    ]


@pytest.mark.parametrize("name", ["a", "0", "cifar10-2", "a.b_c", "a" * 64])
def test_a_good_name_is_returned(name: str) -> None:
    assert keys.check_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "-a", ".a", "a b", "a}", "a:b", "a\n", "a" * 65, "é"])
def test_a_bad_name_is_refused_with_the_rule(name: str) -> None:
    with pytest.raises(UsageError, match=r"cannot name a study: a name is 1 to 64 of the characters"):
        keys.StudyKeys(name)


def documented() -> dict[str, str]:
    """Key pattern -> type, from the table in the module's docstring."""
    return dict(re.findall(r"^    (tuner:\S+)\s+(\w+)", keys.__doc__ or "", flags=re.MULTILINE))


def found(client: redis.Redis, name: str) -> dict[str, str]:
    return {str(key).replace(name, "name"): str(client.type(key)) for key in client.keys("*")}


def test_a_used_store_holds_the_documented_keys_and_only_counters_outlive_a_deleted_study(
    redis_client: redis.Redis,
) -> None:
    name = f"leak-{uuid.uuid4().hex}"
    catalog.create_study(redis_client, name, "{}")
    held = lease.acquire(redis_client, name)
    RedisJournal(redis_client, name, held.fence).append_logs([{"n": 1}])
    assert write_snapshot(redis_client, name, held.fence, b"{}")
    assert catalog.request_stop(redis_client, name, now=False)
    write_job(redis_client, name, JobRecord("http://head:8265", "a-1"))
    assert found(redis_client, name) == documented()
    assert [key for key in redis_client.keys("*") if redis_client.ttl(key) != -1] == [f"tuner:{{{name}}}:lease"]

    held.release()
    catalog.delete_study(redis_client, name)
    assert found(redis_client, name) == {"tuner:created": "string", "tuner:{name}:fence": "string"}
