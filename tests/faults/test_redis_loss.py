"""Redis forgets, or holds what nobody wrote: what can be mended is mended, the rest is said in one line."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.faults.redis_search import (
    KEYS,
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
from tests.program import Program
from tuner.errors import StoreError, StoreUnavailable, StudyNotFound
from tuner.launch import load_study
from tuner.store import catalog, client, embedded
from tuner.store.journal import RedisJournal
from tuner.study import read_study

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def test_redis_is_flushed(server: Server) -> None:
    with server.connect() as connected:
        spec = create(connected)
        with pytest.raises(StoreError) as end:
            search(spec, driver_journal(connected, Clock()), connected.flushall)
        assert end.value.exit_code == 1
        assert str(end.value) == (
            "Redis does not know the driver of study 'test' any more (fence 1, it has none): it was flushed, or "
            "started again without its newest data; restore its append-only file, then `tuner resume test`"
        )
        assert connected.keys("*") == []  # nothing is written beside whatever comes there next
        with pytest.raises(StudyNotFound):
            load_study(connected, "test")


@pytest.mark.parametrize("cut_bytes", [1, 1000, 4000])
def test_the_tail_of_its_file_is_lost(server: Server, cut_bytes: int, caplog: pytest.LogCaptureFixture) -> None:
    lengths = []

    def fault() -> None:
        with server.connect() as connected:
            lengths.append(connected.llen(KEYS.journal))
        server.kill()
        os.truncate(server.file, server.file.stat().st_size - cut_bytes)
        server.start()
        with server.connect() as connected:
            lengths.append(connected.llen(KEYS.journal))

    with server.connect() as connected:
        spec = create(connected)
        ledger = search(spec, driver_journal(connected, Clock()), fault)
        check_as_if_nothing_had_happened(connected, spec, ledger)
    lost = lengths[0] - lengths[1]
    assert lost > 0
    assert [line for line in warnings(caplog) if f"Redis lost the newest {lost} entries" in line] != []


def test_the_tail_of_its_file_is_lost_after_the_last_trial(server: Server) -> None:
    with server.connect() as connected:
        spec = create(connected)
        journal = driver_journal(connected, Clock())
        ledger = search(spec, journal)
        server.kill()
        os.truncate(server.file, server.file.stat().st_size - 500)
        server.start()
        assert read_study(spec, RedisJournal(connected, "test"), None).state == "stopped"
        journal.settle()
        check_as_if_nothing_had_happened(connected, spec, ledger)


def test_so_much_of_its_file_is_lost_that_redis_does_not_know_the_driver(server: Server) -> None:
    def fault() -> None:
        server.kill()
        content = server.file.read_bytes()
        os.truncate(server.file, content.index(b"tuner:{test}:fence"))
        server.start()

    with server.connect() as connected:
        spec = create(connected)
        with pytest.raises(
            StoreError, match=r"does not know the driver of study 'test' any more \(fence 1, it has none\)"
        ):
            search(spec, driver_journal(connected, Clock()), fault)
        assert connected.llen(KEYS.journal) == 0
        assert load_study(connected, "test").state == "stopped"


def test_its_file_is_damaged_in_the_middle(server: Server) -> None:
    whole = b""

    def fault() -> None:
        nonlocal whole
        server.kill()
        whole = server.file.read_bytes()
        middle = whole.index(b"\r\n$", len(whole) // 2)
        server.file.write_bytes(whole[:middle] + b"\r\n?" + whole[middle + 3 :])

    with server.connect() as connected:
        spec, clock = create(connected), Clock()
        revive = embedded.reviver(server.home, connected)
        with pytest.raises(StoreUnavailable) as end:
            search(spec, driver_journal(connected, clock, retry_s=1.0, revive=revive), fault)
        text = str(end.value)
        assert "it cannot be started again: redis-server ended with status 1; the last line of" in text
        assert "redis-check-aof --fix" in text
        assert "\n" not in text
        server.file.write_bytes(whole)
        server.start()
        resume(connected, spec, trained_before_the_fault(spec))


def test_an_entry_is_damaged_in_the_middle(server: Server) -> None:
    with server.connect() as connected:
        spec = create(connected)
        search(spec, driver_journal(connected, Clock()))
        server.kill()
        content = server.file.read_bytes()
        entry = content.index(b'{"intermediate_value"', len(content) // 2)
        for damage, message in [
            (b"\xff", "it holds bytes that are not text"),
            (b"]", r"entry \d+ of the journal is not"),
        ]:
            server.file.write_bytes(content[:entry] + damage + content[entry + 1 :])
            server.start()
            with pytest.raises(StoreError, match=message):
                load_study(connected, "test")
            server.kill()
        server.file.write_bytes(content)
        server.start()
        assert load_study(connected, "test").finished == spec.trials


def test_its_password_is_changed_under_the_search(server: Server) -> None:
    def fault() -> None:
        connected.config_set("requirepass", "secret")
        connected.connection_pool.disconnect()

    with server.connect() as connected:
        spec, clock = create(connected), Clock()
        with pytest.raises(StoreError, match="its password was changed: put the right one into the URL") as end:
            search(spec, driver_journal(connected, clock), fault)
    assert (type(end.value), clock.now_s) == (StoreError, 0.0)
    assert "secret" not in str(end.value)
    with client.connect(server.url.replace("unix://", "unix://:secret@")) as connected:
        connected.config_set("requirepass", "")
        resume(connected, spec, trained_before_the_fault(spec))


def test_its_policy_is_wrong(server: Server) -> None:
    with server.connect() as connected:
        create(connected)
        connected.config_set("maxmemory-policy", "allkeys-lru")
    for command in ("status", "resume", "stop"):
        line = Program(server.home)(command, "test", code=1)
        assert "may lose studies: maxmemory-policy is 'allkeys-lru', not 'noeviction'; mend it with" in line


@pytest.mark.parametrize(("content", "found"), [({"format": 0}, "0"), ({"format": 99}, "99"), ({"format": "x"}, "'x'")])
def test_a_study_has_an_older_or_unknown_format(server: Server, content: dict[str, Any], found: str) -> None:
    with server.connect() as connected:
        catalog.create_study(connected, "test", json.dumps(content))
        before = connected.keys("*")
        for command in ("status", "trials", "resume"):
            line = Program(server.home)(command, "test", code=1)
            assert f"has format {found}, this version of tuner reads format" in line
        assert connected.keys("*") == before
