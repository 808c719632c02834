"""Redis dies, freezes, is cut off or has no memory left while a search runs: nothing is lost, nothing is done twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.proxy import Proxy
from tests.faults.redis_search import (
    Clock,
    Server,
    check_as_if_nothing_had_happened,
    create,
    driver_journal,
    resume,
    search,
    trained_before_the_fault,
    warnings,
)
from tuner.errors import StoreUnavailable
from tuner.store import client, embedded
from tuner.store.server import socket_path

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.mark.parametrize("away_s", [2.0, 60.0, 590.0])
def test_redis_is_killed_and_comes_back(server: Server, away_s: float, caplog: pytest.LogCaptureFixture) -> None:
    with server.connect() as connected:
        spec, clock = create(connected), Clock({away_s: server.start})
        ledger = search(spec, driver_journal(connected, clock), server.kill)
        check_as_if_nothing_had_happened(connected, spec, ledger)
    told, back = warnings(caplog)
    assert told.startswith("Redis failed while appending to the journal of study 'test': ")
    assert back == f"Redis answers again, after {clock.now_s:.0f} s"


def test_the_private_redis_that_was_killed_is_started_again_by_the_journal(server: Server) -> None:
    with server.connect() as connected:
        spec = create(connected)
        revive = embedded.reviver(server.home, connected)
        assert revive is not None
        ledger = search(spec, driver_journal(connected, Clock(), revive=revive), server.kill)
        check_as_if_nothing_had_happened(connected, spec, ledger)


def test_only_the_private_redis_is_started_again(server: Server, tmp_path: Path) -> None:
    with server.connect() as connected:
        assert embedded.reviver(tmp_path, connected) is None
    with Proxy(str(socket_path(server.home / "redis"))) as proxy, client.connect(proxy.url) as connected:
        assert embedded.reviver(server.home, connected) is None


def test_redis_is_down_for_good(server: Server) -> None:
    with server.connect() as connected:
        spec, clock, ledger = create(connected), Clock(), []

        def run() -> None:
            ledger.extend(search(spec, driver_journal(connected, clock), server.kill))

        with pytest.raises(StoreUnavailable) as end:
            run()
        assert 600 <= clock.now_s <= 605
        assert end.value.exit_code == 69
        assert str(end.value).endswith(
            f"it stayed so for {clock.now_s:.0f} s. Nothing that was recorded is lost: mend it, then "
            "`tuner resume test`"
        )
        server.start()
        resume(connected, spec, trained_before_the_fault(spec))


def test_redis_is_frozen_for_30_s(server: Server) -> None:
    with server.connect() as connected:
        spec, clock = create(connected), Clock({30.0: server.thaw})
        ledger = search(spec, driver_journal(connected, clock), server.freeze)
        check_as_if_nothing_had_happened(connected, spec, ledger)
    assert clock.now_s >= 30


def test_the_connection_leads_nowhere_for_30_s(server: Server) -> None:
    with (
        Proxy(str(socket_path(server.home / "redis"))) as proxy,
        client.connect(proxy.url, timeout_s=0.3) as connected,
    ):
        spec, clock = create(connected), Clock({30.0: lambda: setattr(proxy, "blackhole", False)})
        ledger = search(spec, driver_journal(connected, clock), lambda: setattr(proxy, "blackhole", True))
        check_as_if_nothing_had_happened(connected, spec, ledger)
    assert clock.now_s >= 30


def test_replies_are_lost_after_the_commit(server: Server) -> None:
    with (
        Proxy(str(socket_path(server.home / "redis"))) as proxy,
        client.connect(proxy.url, timeout_s=2.0) as connected,
    ):
        spec = create(connected)
        ledger = search(spec, driver_journal(connected, Clock()), lambda: setattr(proxy, "lose_replies", 3))
        assert proxy.lost == 3
        check_as_if_nothing_had_happened(connected, spec, ledger)


def test_redis_has_no_memory_left_until_somebody_gives_it_some(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with server.connect() as connected, server.connect() as administrator:
        spec, clock = create(connected), Clock({30.0: lambda: administrator.config_set("maxmemory", 0)})
        ledger = search(spec, driver_journal(connected, clock), lambda: administrator.config_set("maxmemory", 1))
        check_as_if_nothing_had_happened(connected, spec, ledger)
    assert clock.now_s >= 30
    assert "give it more memory: CONFIG SET maxmemory BYTES; waiting for it, 600 s at most" in warnings(caplog)[0]


def test_redis_has_no_memory_left_and_nobody_gives_it_some(server: Server) -> None:
    with server.connect() as connected:
        spec = create(connected)
        with pytest.raises(
            StoreUnavailable, match=r"OOM command not allowed .* CONFIG SET maxmemory BYTES; it stayed so"
        ):
            search(spec, driver_journal(connected, Clock()), lambda: connected.config_set("maxmemory", 1))
        connected.config_set("maxmemory", 0)
        resume(connected, spec, trained_before_the_fault(spec))
