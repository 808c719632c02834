"""Redis dies, freezes, forgets, fills up or is cut off while a search runs: nothing is lost, nothing is done twice."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from tests.factories import new_spec
from tests.faults.proxy import Proxy
from tests.program import Program, new_program
from tests.replay import Watcher, check_decisions, read_ledger
from tests.trainables import Scripted, Slow, scripted_score
from tuner.errors import StoreError, StoreUnavailable, StudyExists, StudyNotFound
from tuner.exchange import Assignment, Report
from tuner.launch import load_study
from tuner.search import driver
from tuner.search.record import StudyRecord
from tuner.spec import Resources, StudySpec
from tuner.store import catalog, client, embedded, lease
from tuner.store.journal import Journal, MemoryJournal, RedisJournal
from tuner.store.keys import StudyKeys
from tuner.store.server import socket_path
from tuner.study import read_study
from tuner.submit import ray_cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

KEYS = StudyKeys("test")
FAULT_AT = 20  # reports before the fault comes; a search of 12 trials has about 60


class Server:
    """A private redis-server that a test may do anything to."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.url = embedded.ensure_running(home)

    @property
    def pid(self) -> int:
        return int((self.home / "redis" / "redis.pid").read_text())

    @property
    def file(self) -> Path:
        return self.home / "redis" / "appendonly.aof"

    def connect(self) -> redis.Redis:
        return client.connect(self.url, timeout_s=0.3)

    def kill(self) -> None:
        process = psutil.Process(self.pid)
        process.kill()
        process.wait(timeout=10)

    def start(self) -> None:
        embedded.ensure_running(self.home)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


@pytest.fixture
def server(redis_home: Path) -> Iterator[Server]:
    """A Redis of this test's own. `redis_home` skips where there is none."""
    home = Path(tempfile.mkdtemp(prefix="tuner-fault-"))
    started = Server(home)
    try:
        yield started
    finally:
        embedded.stop(home)
        shutil.rmtree(home)


@pytest.fixture(scope="module")
def slots():
    """A local Ray with four slots."""
    with ray_cluster(None, Resources(gpus=0, workers=4)) as counted:
        yield counted[0]


class Clock:
    """Time that passes only when somebody sleeps; what is due then happens."""

    def __init__(self, due: dict[float, Callable[[], None]] | None = None) -> None:
        self.now_s = 0.0
        self.due = due or {}

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        for at_s in [at_s for at_s in self.due if at_s <= self.now_s]:
            self.due.pop(at_s)()


# A search by hand: the record and its journal as the driver uses them, with two trials at once and nothing else.


def search(spec: StudySpec, journal: Journal, fault: Callable[[], None] = lambda: None) -> list[tuple[int, int]]:
    """Run the search to its end; `fault` is called once before a report. The ledger: every (trial, epoch) trained."""
    record = StudyRecord(spec, journal)
    ledger: list[tuple[int, int]] = []
    running: list[tuple[Assignment, Iterator[int]]] = []
    while True:
        while len(running) < 2 and (assignment := record.next_assignment()) is not None:
            running.append((assignment, itertools.count(assignment.start_epoch + 1)))
        if not running:
            return ledger
        assignment, epochs = running.pop(0)
        number, epoch = assignment.number, next(epochs)
        ledger.append((number, epoch))
        if len(ledger) == FAULT_AT:
            fault()
        report = Report(epoch=epoch, score=scripted_score(number, epoch), seconds=0.5, worker="w")
        if record.report(assignment, report):
            running.append((assignment, epochs))


def create(connected: redis.Redis) -> StudySpec:
    spec = new_spec(trials=12)
    catalog.create_study(connected, "test", spec.to_json())
    return spec


def driver_journal(connected: redis.Redis, clock: Clock, **options: Any) -> RedisJournal:
    return RedisJournal(
        connected, "test", lease.acquire(connected, "test").fence, clock=clock, sleep=clock.sleep, **options
    )


def decided(texts: list[str]) -> list[dict[str, Any]]:
    """The entries of a journal without what is different in each run: who wrote them, and when."""
    passing = ("worker_id", "datetime_start", "datetime_complete", "recorded_s")

    def lasting(content: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in content.items() if key not in passing}

    return [json.loads(text, object_hook=lasting) for text in texts]


def check_as_if_nothing_had_happened(connected: redis.Redis, spec: StudySpec, ledger: list[tuple[int, int]]) -> None:
    """The journal has, entry for entry, what an undisturbed search writes, and the ledger what one trains."""
    undisturbed = MemoryJournal()
    assert ledger == search(spec, undisturbed)
    assert decided(connected.lrange(KEYS.journal, 0, -1)) == decided(undisturbed._read())
    found = read_study(spec, RedisJournal(connected, "test"), None)
    assert found.trials == read_study(spec, undisturbed, None).trials
    assert {(trial.number, epoch) for trial in found.trials for epoch, _ in trial.values} == set(ledger)
    assert found.state == "complete"


def resume(connected: redis.Redis, spec: StudySpec, before: list[tuple[int, int]]) -> None:
    """A new life on what the last one left: nothing finished is lost or trained again, each decision is the rule's."""
    connected.delete(KEYS.lease)  # its driver's process is this one, and lives
    left = read_study(spec, RedisJournal(connected, "test"), None)
    finished = {trial.number: trial for trial in left.trials if trial.state in ("complete", "pruned")}
    assert finished, "the fault came before there was anything to lose"
    ledger = search(spec, driver_journal(connected, Clock()))
    found = read_study(spec, RedisJournal(connected, "test"), None)
    assert found.state == "complete"
    assert {trial.number: trial for trial in found.trials if trial.number in finished} == finished
    assert {number for number, _ in ledger} & finished.keys() == set()
    assert {(trial.number, epoch) for trial in found.trials for epoch, _ in trial.values} == {*before, *ledger}
    check_decisions(connected, found)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("tuner.")]


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


def trained_before_the_fault(spec: StudySpec) -> list[tuple[int, int]]:
    """What a search had recorded when the fault came: all of its ledger but the epoch that it came with."""
    return search(spec, MemoryJournal())[: FAULT_AT - 1]


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


# The driver with a real Ray, whose trials train nothing


@pytest.fixture
def drive(slots, tmp_path: Path):
    """Runs the driver over a connection, on a study that is created if it is not there: (study, ledger rows)."""

    def run(connected: redis.Redis, trainable=Scripted, progress=None, trials: int = 12, **options: Any):
        spec = new_spec(storage=str(tmp_path / "storage"), trials=trials)
        with contextlib.suppress(StudyExists):
            catalog.create_study(connected, "test", spec.to_json())
        show = (progress or Watcher()).show
        arguments = {"cache": tmp_path / "ledger", "show": show, "trainable": trainable, **options}
        study, _ = driver.run(spec, connected, slots, **arguments)
        return study, read_ledger(tmp_path / "ledger")

    return run


def check_exact(connected: redis.Redis, study, rows) -> None:
    """Every epoch was trained once and stands once in the journal, with its score; every decision is the rule's."""
    trained = [(number, epoch) for number, _, epoch, _ in rows]
    assert len(set(trained)) == len(trained)
    texts = connected.lrange(KEYS.journal, 0, -1)
    assert len(set(texts)) == len(texts)
    entries = [json.loads(text) for text in texts]
    reports = [(entry["trial_id"], entry["step"]) for entry in entries if "intermediate_value" in entry]
    assert sorted(reports) == sorted(trained)
    assert all(score == scripted_score(trial.number, epoch) for trial in study.trials for epoch, score in trial.values)
    assert {trial.attempt for trial in study.trials} == {1}
    assert study.state == "complete"
    check_decisions(connected, study)


def at_trials(numbers: set[int], fault: Callable[[], None]) -> Watcher:
    """Calls `fault` when each of these trials has reported for the first time."""
    left = set(numbers)

    def changed(trial) -> None:
        if trial.number in left and trial.values:
            left.discard(trial.number)
            fault()

    return Watcher(changed)


def test_a_connection_that_is_cut_again_and_again_costs_nothing(server: Server, drive) -> None:
    ended = threading.Event()
    cuts = 0

    def cut_and_cut() -> None:
        nonlocal cuts
        for number in itertools.count():
            if ended.wait(0.3):
                return
            proxy.lose_replies = number % 2  # the next commit is applied, and its reply goes with the connection
            proxy.cut()
            cuts += 1

    with (
        Proxy(str(socket_path(server.home / "redis"))) as proxy,
        client.connect(proxy.url, timeout_s=1.0) as connected,
    ):
        saboteur = threading.Thread(target=cut_and_cut)
        catalog.create_study(connected, "test", new_spec(trials=30).to_json())
        saboteur.start()
        try:
            study, rows = drive(connected, Slow, trials=30)
        finally:
            ended.set()
            saboteur.join()
    assert cuts >= 10
    assert proxy.lost >= 5
    with server.connect() as direct:
        check_exact(direct, study, rows)
        assert load_study(direct, "test").trials == study.trials


def test_a_driver_starts_its_private_redis_again_each_time_it_dies(server: Server, drive) -> None:
    with server.connect() as connected:
        revive = embedded.reviver(server.home, connected)
        study, rows = drive(connected, Slow, at_trials({2, 5, 9}, server.kill), revive=revive)
        check_exact(connected, study, rows)


def test_an_outage_that_is_longer_than_the_lease_does_not_end_the_search(
    server: Server, drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire = lease.acquire
    monkeypatch.setattr(lease, "acquire", lambda *args, **options: acquire(*args, ttl_s=0.5, **options))
    thaw = threading.Timer(3.0, server.thaw)

    def freeze() -> None:
        server.freeze()
        thaw.start()

    with server.connect() as connected:
        study, rows = drive(connected, Slow, at_trials({3}, freeze), revive=embedded.reviver(server.home, connected))
        thaw.join()
        check_exact(connected, study, rows)
        assert lease.holder(connected, "test") is None


def test_a_driver_without_redis_ends_with_69_and_can_be_resumed(server: Server, drive, tmp_path: Path) -> None:
    with server.connect() as connected:
        with pytest.raises(
            StoreUnavailable, match="Nothing that was recorded is lost: mend it, then `tuner resume test`"
        ):
            drive(connected, Slow, at_trials({6}, server.kill), outage_s=2.0)
        before = read_ledger(tmp_path / "ledger")
        server.start()
        connected.delete(KEYS.lease)  # its driver's process is this one, and lives
        left = load_study(connected, "test")
        finished = {trial.number: trial for trial in left.trials if trial.state in ("complete", "pruned")}
        assert finished
        study, rows = drive(connected)
        assert study.state == "complete"
        assert {trial.number: trial for trial in study.trials if trial.number in finished} == finished
        assert {number for number, *_ in rows[len(before) :]} & finished.keys() == set()
        check_decisions(connected, study)


def test_the_program_starts_its_private_redis_again(redis_home: Path) -> None:
    with new_program() as program:
        process = program.start("search", "digits", "--gpus", "0", "--trials", "16", "--max-epochs", "9")
        try:
            program.wait_until(lambda: program.finished("digits") >= 1, process)
            killed = int((program.home / "redis" / "redis.pid").read_text())
            os.kill(killed, signal.SIGKILL)
            assert process.poll() is None, "the search was over before its Redis was killed"
            output = process.communicate(timeout=90)[0]
        finally:
            process.terminate()
            process.wait(timeout=60)
        assert process.returncode == 0, output
        assert int((program.home / "redis" / "redis.pid").read_text()) != killed
        assert json.loads(program("status", "--json"))["state"] == "complete"
