"""How a lease is kept, and how it is lost."""

from __future__ import annotations

import dataclasses
import json
import re
import threading

import pytest
import redis

from tests.store.leases import KEYS, Clock, remote_process, unreachable
from tuner.errors import LeaseLost, StoreError, StoreUnavailable
from tuner.store import catalog, lease
from tuner.store.keys import CREATED


def test_a_renewal_lengthens_the_lease_and_reads_what_is_asked(redis_client: redis.Redis) -> None:
    held = lease.acquire(redis_client, "s")
    redis_client.pexpire(KEYS.lease, 1_000)
    assert held.renew() is None
    assert redis_client.pttl(KEYS.lease) > 29_000
    redis_client.set(KEYS.control, lease.STOP)
    assert held.renew() == lease.STOP


def test_a_new_lease_forgets_the_stop_that_ended_the_last(redis_client: redis.Redis) -> None:
    redis_client.set(KEYS.control, lease.STOP)
    assert lease.acquire(redis_client, "s").renew() is None


def test_a_lease_that_expired_and_that_nobody_took_is_renewed(redis_client: redis.Redis) -> None:
    held = lease.acquire(redis_client, "s")
    redis_client.delete(KEYS.lease)
    held.renew()
    assert not held.lost.is_set()
    assert lease.holder(redis_client, "s") == held.holder


def test_a_lease_that_another_took_is_lost_and_left_alone(redis_client: redis.Redis) -> None:
    held = lease.acquire(redis_client, "s")
    redis_client.delete(KEYS.lease)
    other = lease.acquire(redis_client, "s")
    held.renew()
    held.release()
    assert held.lost.is_set()
    assert lease.holder(redis_client, "s") == other.holder
    other.renew()
    assert not other.lost.is_set()


def test_a_lease_of_a_deleted_study_is_lost(redis_client: redis.Redis) -> None:
    catalog.create_study(redis_client, "s", "{}")
    held = lease.acquire(redis_client, "s")
    redis_client.delete(KEYS.lease)  # its driver was suspended
    catalog.delete_study(redis_client, "s")
    held.renew()
    assert held.lost.is_set()
    assert set(redis_client.keys("*")) == {CREATED, KEYS.fence}


def test_a_lease_is_lost_when_redis_stays_away_and_not_before(redis_client: redis.Redis) -> None:
    clock = Clock()
    held = lease.Lease(unreachable(), KEYS, 1, remote_process(), ttl_s=30.0, outage_s=lease.OUTAGE_S, clock=clock)
    clock.now_s = 10 * lease.OUTAGE_S  # suspended for long: the outage is counted from the first failure
    began_s = clock.now_s
    for away_s in (0.0, lease.OUTAGE_S):
        clock.now_s = began_s + away_s
        assert held.renew() is None
        assert not held.lost.is_set()
        held.raise_if_lost()
    clock.now_s += 1
    held.renew()
    assert held.lost.is_set()
    with pytest.raises(StoreUnavailable, match="it stayed so for 601 s") as end:
        held.raise_if_lost()
    assert end.value.exit_code == 69


def test_an_outage_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    held = lease.Lease(unreachable(), KEYS, 1, remote_process(), ttl_s=30.0, outage_s=600.0, clock=clock)
    held.renew()
    assert caplog.records == []  # it may be there again in a moment
    for _ in range(3):
        clock.now_s += 2.0
        held.renew()
    assert [record.getMessage()[:46] for record in caplog.records] == ["Redis failed while renewing the lease of study"]


@pytest.mark.parametrize(
    ("fence", "error", "text"),
    [
        ("8", LeaseLost, "was taken over or deleted: this driver holds fence 5, the newest is 8"),
        ("4", StoreError, "does not know the driver of study 's' any more (fence 5, it has '4')"),
        (None, StoreError, "does not know the driver of study 's' any more (fence 5, it has none)"),
    ],
)
def test_a_fence_that_is_not_ours_ends_the_lease_and_says_why(
    redis_client: redis.Redis, fence: str | None, error: type[Exception], text: str
) -> None:
    redis_client.set(KEYS.fence, 4)
    held = lease.acquire(redis_client, "s")
    redis_client.flushall()
    if fence is not None:
        redis_client.set(KEYS.fence, fence)
    held.renew()
    assert held.lost.is_set()
    with pytest.raises(error, match=re.escape(text)):
        held.raise_if_lost()
    assert redis_client.get(KEYS.lease) is None


def test_two_drivers_that_were_given_one_fence_are_told_apart_by_their_leases(redis_client: redis.Redis) -> None:
    old = lease.acquire(redis_client, "s")
    redis_client.flushall()  # Redis lost its newest writes, and gives the fence a second time
    new = lease.acquire(redis_client, "s")
    assert old.fence == new.fence
    new.renew()
    old.renew()
    assert old.lost.is_set()
    assert not new.lost.is_set()
    assert lease.holder(redis_client, "s") == new.holder


def test_a_lease_that_was_taken_though_the_reply_was_lost_is_ours(redis_client: redis.Redis) -> None:
    class LosesReplies(redis.Redis):
        lost = 0

        def evalsha(self, *args):  # type: ignore[no-untyped-def, override]
            answer = super().evalsha(*args)
            if self.lost < 2:
                self.lost += 1
                raise redis.TimeoutError("late")
            return answer

    clock = Clock()
    unreliable = LosesReplies(connection_pool=redis_client.connection_pool)
    held = lease.acquire(unreliable, "s", clock=clock, sleep=clock.sleep)
    assert (held.fence, unreliable.lost, redis_client.get(KEYS.fence)) == (1, 2, "1")


@pytest.mark.parametrize("planted", [b"stopp", b"\x80", b"{}", None])
def test_a_request_that_asks_for_nothing_known_is_not_passed_on(
    redis_client: redis.Redis, planted: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    held = lease.acquire(redis_client, "s", clock=clock)
    redis_client.set(KEYS.control, planted) if planted is not None else redis_client.rpush(KEYS.control, lease.STOP)
    for clock.now_s in (0.0, lease.OUTAGE_S, 2 * lease.OUTAGE_S):
        assert held.renew() is None
    assert not held.lost.is_set()
    assert f"{KEYS.control} holds neither 'stop' nor 'stop-now': it asks for nothing" in caplog.text


def test_a_renewal_ends_an_outage(redis_client: redis.Redis) -> None:
    clock = Clock()
    held = lease.acquire(redis_client, "s", clock=clock)
    clock.now_s = 2 * lease.OUTAGE_S
    held.renew()
    script = held._renew_script
    for _ in range(3):  # each outage by itself is short enough
        held._renew_script = unreachable().register_script(script.script)
        held.renew()
        clock.now_s += 0.9 * lease.OUTAGE_S
        held.renew()
        held._renew_script = script
        held.renew()
    assert not held.lost.is_set()


def test_releasing_without_redis_warns_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    held = lease.Lease(unreachable(), KEYS, 1, remote_process(), ttl_s=30.0, outage_s=600.0, clock=Clock())
    held.release()
    assert "it expires by itself in at most 30 s" in caplog.text


def test_the_thread_renews_and_tells_each_request_once(redis_client: redis.Redis) -> None:
    held = lease.acquire(redis_client, "s", ttl_s=0.4)  # renewed every 0.1 s
    told: list[str] = []
    was_told = {lease.STOP: threading.Event(), lease.STOP_NOW: threading.Event()}

    def on_control(asked: str) -> None:
        told.append(asked)
        was_told[asked].set()
        raise RuntimeError("the thread goes on")

    held.start_renewing(on_control)
    redis_client.set(KEYS.control, lease.STOP)
    assert was_told[lease.STOP].wait(timeout=10)
    redis_client.set(KEYS.control, lease.STOP_NOW)
    assert was_told[lease.STOP_NOW].wait(timeout=10)
    assert not held.lost.is_set()
    held.release()
    assert told == [lease.STOP, lease.STOP_NOW]
    assert redis_client.get(KEYS.lease) is None


def test_the_thread_notices_a_lost_lease(redis_client: redis.Redis) -> None:
    held = lease.acquire(redis_client, "s", ttl_s=0.2)
    redis_client.incr(KEYS.fence)
    held.start_renewing()
    assert held.lost.wait(timeout=10)
    held.release()


def changed(**changes: object) -> str:
    return json.dumps({**dataclasses.asdict(remote_process()), **changes})


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[]",
        "{}",
        "[" * 100_000,
        changed(since_s="now"),
        changed(since_s=1e300),
        changed(pid=-1),
        changed(pid=1 << 80),
        changed(host=["far"]),
        changed(more=1),
    ],
)
def test_an_unreadable_lease_is_one_line(redis_client: redis.Redis, text: str) -> None:
    redis_client.set(KEYS.lease, text)
    with pytest.raises(StoreError) as refusal:
        lease.acquire(redis_client, "s")
    assert str(refusal.value).startswith(f"the lease of study 's' cannot be read, it holds {text[:100]!r}")
