"""The driver with a real Ray, whose trials train nothing, while its Redis dies or is cut off."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.factories import new_spec
from tests.faults.proxy import Proxy
from tests.faults.redis_search import (
    KEYS,
    Server,
)
from tests.program import new_program
from tests.replay import Watcher, check_decisions, read_ledger
from tests.trainables import Scripted, Slow, scripted_score
from tuner.errors import StoreUnavailable, StudyExists
from tuner.launch import load_study
from tuner.search import driver
from tuner.spec import Resources
from tuner.store import catalog, client, embedded, lease
from tuner.store.server import socket_path
from tuner.submit import ray_cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def slots():
    """A local Ray with four slots."""
    with ray_cluster(None, Resources(gpus=0, workers=4)) as counted:
        yield counted[0]


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
