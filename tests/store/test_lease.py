"""Who may take a lease, and when."""

from __future__ import annotations

import contextlib

import pytest
import redis

from tests.store.leases import KEYS, Clock, dead_process, remote_process
from tuner.errors import LeaseHeld
from tuner.store import catalog, client, identity, lease


def test_a_lease_names_its_holder_and_expires(redis_client: redis.Redis) -> None:
    held = lease.acquire(redis_client, "s", ttl_s=30.0)
    assert lease.holder(redis_client, "s") == held.holder
    assert held.holder == identity.this_process(held.holder.since_s)
    assert abs(held.holder.since_s - client.server_time_s(redis_client)) < 10.0
    assert 29_000 < redis_client.pttl(KEYS.lease) <= 30_000
    held.release()
    assert lease.holder(redis_client, "s") is None


def test_each_lease_draws_the_next_fence(redis_client: redis.Redis) -> None:
    fences = []
    for _ in range(3):
        held = lease.acquire(redis_client, "s")
        fences.append(held.fence)
        held.release()
    assert fences == [1, 2, 3]


def test_a_living_holder_is_refused_at_once_with_who_and_until_when(redis_client: redis.Redis) -> None:
    held = lease.acquire(redis_client, "s")
    with pytest.raises(LeaseHeld) as refusal:
        lease.acquire(redis_client, "s")
    assert str(refusal.value) == (
        f"study 's' is run by {held.holder}; stop it with `tuner stop s`, or, if it is dead, wait 30 s for its lease "
        "to expire"
    )
    assert redis_client.get(KEYS.fence) == "1"


def test_a_holder_on_another_machine_is_refused_and_named(redis_client: redis.Redis) -> None:
    redis_client.set(KEYS.lease, remote_process().to_json(), px=12_000)
    with pytest.raises(LeaseHeld, match=r"is run by process 77 of ann on far since .* wait 12 s"):
        lease.acquire(redis_client, "s")


@pytest.mark.parametrize("left_s", [7_230, None])
def test_a_lease_that_a_clock_set_back_made_longer_than_any_is_shortened_by_who_sees_it(
    redis_client: redis.Redis, left_s: int | None
) -> None:
    redis_client.set(KEYS.lease, remote_process().to_json(), ex=left_s)
    with pytest.raises(LeaseHeld, match="wait 30 s for its lease to expire"):
        lease.acquire(redis_client, "s")
    assert 29_000 < redis_client.pttl(KEYS.lease) <= 30_000
    for look in (lease.holder, lease.refuse_if_held, catalog.delete_study):
        catalog.create_study(redis_client, "s", "{}")
        redis_client.set(KEYS.lease, remote_process().to_json(), ex=left_s)
        with contextlib.suppress(LeaseHeld):
            look(redis_client, "s")
        assert 29_000 < redis_client.pttl(KEYS.lease) <= 30_000
        redis_client.flushall()


def test_a_holder_whose_process_is_gone_is_replaced_at_once(redis_client: redis.Redis) -> None:
    redis_client.set(KEYS.lease, dead_process().to_json(), px=30_000)
    assert lease.holder(redis_client, "s") is None
    held = lease.acquire(redis_client, "s")
    assert lease.holder(redis_client, "s") == held.holder


def test_waiting_ends_with_the_lease_or_with_patience(redis_client: redis.Redis) -> None:
    clock = Clock()
    first = lease.acquire(redis_client, "s")
    with pytest.raises(LeaseHeld):
        lease.acquire(redis_client, "s", wait_s=2.0, clock=clock, sleep=clock.sleep)
    assert sum(clock.slept) == 2.0

    def sleep_while_the_other_ends(seconds: float) -> None:
        clock.sleep(seconds)
        first.release()

    assert lease.acquire(redis_client, "s", wait_s=2.0, clock=clock, sleep=sleep_while_the_other_ends).fence == 2
