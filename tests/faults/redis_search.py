"""A Redis that a test may do anything to, and a search over it without Ray, two trials at once."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from tests.factories import new_spec
from tests.replay import check_decisions
from tests.trainables import scripted_score
from tuner.exchange import Assignment, Report
from tuner.search.record import StudyRecord
from tuner.spec import StudySpec
from tuner.store import catalog, client, embedded, lease
from tuner.store.journal import Journal, MemoryJournal, RedisJournal
from tuner.store.keys import StudyKeys
from tuner.study import read_study

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
    passing = ("worker_id", "datetime_start", "datetime_complete", "recorded_s", "used_s")

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


def trained_before_the_fault(spec: StudySpec) -> list[tuple[int, int]]:
    """What a search had recorded when the fault came: all of its ledger but the epoch that it came with."""
    return search(spec, MemoryJournal())[: FAULT_AT - 1]
