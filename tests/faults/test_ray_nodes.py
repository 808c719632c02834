"""Machines of a Ray cluster that die or freeze, a GCS that dies, and a cluster that is started anew.

Nothing is trained. Each "machine" is a raylet of this one, with its workers in a session of its own.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.factories import new_spec
from tests.faults.cluster import ROOT, Machine, environment, use_token
from tests.replay import Watcher, check_decisions, read_ledger
from tests.trainables import Gathering, scripted_score
from tuner.launch import load_study
from tuner.search import driver
from tuner.spec import Resources
from tuner.store import catalog, lease
from tuner.submit import ray_cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

# A machine that answers nothing for about 6 s is dead; Ray would wait for more than a minute.
HEALTH_CHECKS = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1500",
    "RAY_health_check_failure_threshold": "3",
}
# The command line, with a worker that trains nothing. The ledger is where the cache would be.
PROGRAM = """
import functools
from tests.trainables import SlowlySaving
from tuner import cli, launch
from tuner.search import driver

launch.refuse_changed_data = lambda *_: None
driver.run = functools.partial(driver.run, trainable=SlowlySaving)
cli.main()
"""
LAST_WORDS = "error: the search ended suddenly; nothing is lost, go on with `tuner resume test`"


@pytest.fixture(scope="module")
def start_machine(tmp_path_factory):
    """Start a machine; all are killed with the module."""
    machines = []

    def start(**options):
        machines.append(Machine(tmp_path_factory.mktemp("machine") / "log", **options))
        return machines[-1]

    yield start
    for machine in machines:
        machine.kill()


@pytest.fixture(scope="module")
def head(start_machine):
    """The head of a cluster, with one CPU. The last test kills it."""
    machine = start_machine(cpus=1, **HEALTH_CHECKS)
    machine.wait_until_started()
    return machine


def create(redis_client, tmp_path):
    resources = Resources(gpus=0, workers=2)
    spec = new_spec(storage=str(tmp_path / "storage"), trials=24, grace_period=3, resources=resources)
    catalog.create_study(redis_client, "test", spec.to_json())
    return spec


def check(redis_client, study, rows):
    """All is as if nothing had happened, but for attempts that went on after the last epoch that had been reported."""
    assert (study.state, study.counts["failed"]) == ("complete", 0)
    assert load_study(redis_client, "test") == study
    assert lease.holder(redis_client, "test") is None
    check_decisions(redis_client, study)
    for trial in study.trials:
        epochs = [epoch for epoch, _ in trial.values]
        assert epochs == list(range(1, len(epochs) + 1))
        assert trial.values == [(epoch, scripted_score(trial.number, epoch)) for epoch in epochs]
        trained = [epoch for number, _, epoch, _ in rows if number == trial.number]
        assert set(trained) == set(epochs)
        assert len(trained) - len(epochs) <= trial.attempt - 1


class Misfortune:
    """In the middle of a search one machine is killed and then another is frozen, each while a trial runs there.

    The frozen one goes on when its trial has reported from elsewhere.
    """

    def __init__(self, machines, processes):
        self._left = list(machines)
        self._processes = processes  # how many are waited for: two, and the one that takes the place of the killed one
        self._processes.write_text("2")
        self._frozen_trial = None
        self.moved = {}  # trial -> epochs that it had reported from the machine that it lost
        self.reports_after_all = 0

    def changed(self, trial):
        if trial.number == self._frozen_trial and len(trial.values) > self.moved[trial.number]:
            self._frozen.signal(signal.SIGCONT)
            self._frozen_trial = None
        elif len(self._left) == 0 and self._frozen_trial is None:
            self.reports_after_all += bool(trial.values)
        elif self._left and trial.state == "running" and trial.attempt == 1 and 2 <= len(trial.values) <= 7:
            pid = int(trial.worker.removeprefix("pid:"))
            for machine in [machine for machine in self._left if pid in machine.pids()]:
                self._strike(machine, trial)

    def _strike(self, machine, trial):
        self._left.remove(machine)
        self.moved[trial.number] = len(trial.values)
        if self._left:
            machine.kill()
            self._processes.write_text("3")
        else:
            self._frozen, self._frozen_trial = machine, trial.number
            machine.signal(signal.SIGSTOP)


def test_trials_of_a_machine_that_dies_or_freezes_go_on_elsewhere(redis_client, head, start_machine, tmp_path):
    use_token()
    spec = create(redis_client, tmp_path)
    others = []
    for _ in range(2):
        others.append(start_machine(cpus=1, joins=head.address, **HEALTH_CHECKS))
        others[-1].wait_until_started()
    ledger = tmp_path / "ledger"
    misfortune = Misfortune(others, Path(f"{ledger}.processes"))
    with ray_cluster(head.address, spec.resources) as (slots, _):
        assert slots.count == 2
        show = Watcher(misfortune.changed).show
        study, _ = driver.run(spec, redis_client, slots, cache=ledger, show=show, trainable=Gathering)

    rows = read_ledger(ledger)
    check(redis_client, study, rows)
    assert misfortune.reports_after_all > 0
    assert {trial.number: trial.attempt for trial in study.trials if trial.attempt > 1} == dict.fromkeys(
        misfortune.moved, 2
    )
    for number, reported in misfortune.moved.items():
        # From the checkpoint of the last epoch that was reported.
        assert next(epoch for row, attempt, epoch, _ in rows if (row, attempt) == (number, 2)) == reported + 1


class Life:
    """One `tuner resume`, its output in a file."""

    def __init__(self, head, redis_url, tmp_path):
        self._log = tmp_path / "output"
        arguments = ["resume", "test", "--redis", redis_url, "--address", head.address]
        variables = {
            "TUNER_HOME": str(tmp_path / "home"),
            "TUNER_CACHE": str(tmp_path / "ledger"),
            "RAY_gcs_rpc_server_reconnect_timeout_s": "3",
        }
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *arguments],
                cwd=ROOT,
                start_new_session=True,
                env=environment(**variables),
                stdout=log,
                stderr=log,
            )

    def wait_until_more(self, finished, than):
        """Wait until more than so many trials are finished."""
        deadline_s = time.monotonic() + 60
        while len(finished()) <= than:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline_s, self._log.read_text()
            time.sleep(0.1)

    def end(self, timeout_s):
        """Wait for it: its exit code and last line."""
        try:
            code = self._process.wait(timeout=timeout_s)
        finally:
            self._process.kill()
        return code, self._log.read_text().splitlines()[-1]


def test_after_the_gcs_or_the_whole_cluster_has_gone_the_search_goes_on_on_a_new_one(
    redis_client, redis_url, head, start_machine, tmp_path
):
    create(redis_client, tmp_path)

    def finished():
        return {trial.number: trial for trial in load_study(redis_client, "test").trials if trial.is_finished}

    ended = {}
    for kill in (Machine.kill_gcs, Machine.kill):
        life = Life(head, redis_url, tmp_path)
        next_head = start_machine(cpus=2)
        life.wait_until_more(finished, than=len(ended) + 3)
        kill(head)
        assert life.end(timeout_s=30) == (1, LAST_WORDS)
        head.kill()
        next_head.wait_until_started()
        head = next_head
        assert {number: finished()[number] for number in ended} == ended
        ended = finished()

    assert Life(head, redis_url, tmp_path).end(timeout_s=60) == (
        0,
        "export the best model with `tuner export-best test`",
    )
    study = load_study(redis_client, "test")
    check(redis_client, study, read_ledger(tmp_path / "ledger"))
    assert {number: study.trials[number] for number in ended} == ended
