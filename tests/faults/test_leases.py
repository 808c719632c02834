"""Several drivers, one study: whoever holds the lease runs it, and what the others still say is refused."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace

import pytest

from tests.factories import new_spec
from tests.faults.cluster import start_driver
from tests.replay import Watcher, check_decisions, read_ledger
from tests.trainables import Slow
from tuner.errors import LeaseHeld
from tuner.launch import load_study
from tuner.search import driver
from tuner.spec import Resources
from tuner.store import catalog, lease
from tuner.store.keys import StudyKeys
from tuner.submit import ray_cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

# Its lease runs out after 2 s without renewal. It begins when the file `go` is there, and writes how it ended.
DRIVER = """
import functools, sys, time
from dataclasses import replace
from pathlib import Path
from tests.replay import Watcher
from tests.trainables import Slow
from tuner.errors import TunerError
from tuner.search import driver
from tuner.spec import Resources, StudySpec
from tuner.store import catalog, client, lease
from tuner.submit import ray_cluster

url, ledger, address, ending = sys.argv[1:]
driver.leases.acquire = functools.partial(lease.acquire, ttl_s=2.0)
store = client.connect(url)
spec = StudySpec.from_json(catalog.read_spec(store, "test"))
with ray_cluster(address, Resources(gpus=0, workers=1)) as (slots, _):
    Path(ending + ".ready").touch()
    while not Path(ledger).with_name("go").exists():
        time.sleep(0.01)
    try:
        driver.run(spec, store, replace(slots, cpus=1), cache=Path(ledger), show=Watcher().show, trainable=Slow)
        Path(ending).write_text("done")
    except TunerError as error:
        Path(ending).write_text(f"{type(error).__name__}: {error}")
        sys.exit(error.exit_code)
"""


@pytest.fixture(scope="module")
def slots(address):
    """One slot of the cluster's two: the other is for another driver's worker, which may be there still."""
    with ray_cluster(address, Resources(gpus=0, workers=1)) as counted:
        yield replace(counted[0], cpus=1)


@pytest.fixture
def new_driver(redis_client, redis_url, address, tmp_path):
    """Start a driver of the study `test`: (process, file that says how it ended). All are ended with the test."""
    started = []

    def start(name):
        ending = tmp_path / name
        process = start_driver(DRIVER, redis_url, str(tmp_path / "ledger"), address, str(ending))
        started.append(process)
        return process, ending

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def create(redis_client, tmp_path, trials):
    spec = new_spec(storage=str(tmp_path / "storage"), trials=trials)
    catalog.create_study(redis_client, "test", spec.to_json())
    return spec


def wait_until(condition, timeout_s=40.0):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "nothing happened in time"
        threading.Event().wait(0.02)


def freeze_in_the_middle(new_driver, redis_client, tmp_path):
    """A driver that was stopped by SIGSTOP after it had recorded some epochs."""
    process, ending = new_driver("first")
    (tmp_path / "go").touch()
    wait_until(lambda: any(len(trial.values) >= 2 for trial in load_study(redis_client, "test").trials))
    os.kill(process.pid, signal.SIGSTOP)
    return process, ending


def test_of_two_resumes_at_once_exactly_one_runs_the_study(new_driver, redis_client, tmp_path):
    create(redis_client, tmp_path, trials=4)
    drivers = [new_driver("first"), new_driver("second")]
    wait_until(lambda: all(ending.with_name(f"{ending.name}.ready").exists() for _, ending in drivers))
    (tmp_path / "go").touch()
    codes = sorted(process.wait(timeout=60) for process, _ in drivers)
    endings = sorted(ending.read_text() for _, ending in drivers)
    assert codes == [0, 1]
    assert endings[1] == "done"
    assert endings[0].startswith("LeaseHeld: study 'test' is run by process ")
    study, rows = load_study(redis_client, "test"), read_ledger(tmp_path / "ledger")
    assert study.state == "complete"
    assert sorted((number, epoch) for number, _, epoch, _ in rows) == sorted(
        (trial.number, epoch) for trial in study.trials for epoch, _ in trial.values
    )


def test_a_killed_driver_of_this_machine_is_replaced_at_once(new_driver, redis_client, tmp_path):
    create(redis_client, tmp_path, trials=20)
    process, _ = freeze_in_the_middle(new_driver, redis_client, tmp_path)
    with pytest.raises(LeaseHeld, match=f"is run by process {process.pid} "):
        lease.acquire(redis_client, "test")
    process.kill()
    process.wait()
    taken = lease.acquire(redis_client, "test")  # without waiting for the 2 s of the lease
    taken.release()


def test_a_driver_frozen_beyond_its_lease_stops_by_itself_and_changes_nothing(
    new_driver, redis_client, slots, tmp_path
):
    spec = create(redis_client, tmp_path, trials=6)
    process, ending = freeze_in_the_middle(new_driver, redis_client, tmp_path)
    woken_at = []

    def wake_the_first(trial):
        if trial.number == 3 and trial.values and not woken_at:
            os.kill(process.pid, signal.SIGCONT)
            woken_at.append(redis_client.llen(StudyKeys("test").journal))

    show = Watcher(wake_the_first).show
    study, _ = driver.run(spec, redis_client, slots, cache=tmp_path / "ledger", show=show, trainable=Slow, wait_s=10.0)
    assert process.wait(timeout=30) == 1
    assert ending.read_text().startswith("LeaseLost: ")
    assert woken_at
    assert study.state == "complete"
    assert load_study(redis_client, "test") == study
    check_decisions(redis_client, study)
    assert lease.holder(redis_client, "test") is None


def test_a_frozen_driver_writes_nothing_into_a_study_made_anew_under_its_name(
    new_driver, redis_client, slots, tmp_path
):
    create(redis_client, tmp_path, trials=6)
    process, ending = freeze_in_the_middle(new_driver, redis_client, tmp_path)

    def deleted():
        try:
            catalog.delete_study(redis_client, "test")
        except LeaseHeld:
            return False
        return True

    wait_until(deleted)
    spec = create(redis_client, tmp_path, trials=3)
    os.kill(process.pid, signal.SIGCONT)
    assert process.wait(timeout=30) == 1
    assert ending.read_text().startswith("LeaseLost: ")
    assert redis_client.llen(StudyKeys("test").journal) == 0
    study, _ = driver.run(spec, redis_client, slots, cache=tmp_path / "new", show=Watcher().show, trainable=Slow)
    assert (study.state, len(study.trials)) == ("complete", 3)
    assert {number for number, *_ in read_ledger(tmp_path / "new")} == {0, 1, 2}
