"""The driver with a real Ray and a real Redis; the trials train nothing, so that what is tested is the search."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.factories import new_spec
from tests.replay import Watcher, check_decisions, read_ledger
from tests.trainables import FourTogether, Misfortunes, Scripted, Slow, scripted_score
from tuner.attach import Follower
from tuner.errors import LeaseHeld, LeaseLost
from tuner.launch import load_study
from tuner.search import driver
from tuner.search.audit import audit
from tuner.search.newtrials import KNEW
from tuner.snapshot import study_by_snapshot
from tuner.spec import Resources, StudySpec
from tuner.store import catalog, lease
from tuner.store.journal import RedisJournal
from tuner.store.keys import StudyKeys
from tuner.submit import ray_cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def slots():
    """A local Ray with four slots."""
    with ray_cluster(None, Resources(gpus=0, workers=4)) as counted:
        yield counted[0]


@pytest.fixture
def start(redis_client, slots, tmp_path):
    """Creates the study if it is not there, and runs it: (study, stop, ledger rows)."""

    def run(trainable=Scripted, progress=None, **changes):
        spec = new_spec(storage=str(tmp_path / "storage"), **changes)
        if spec.name not in [name for name, _, _ in catalog.list_studies(redis_client)]:
            catalog.create_study(redis_client, spec.name, spec.to_json())
        study, stop = driver.run(
            spec, redis_client, slots, cache=tmp_path / "ledger", show=(progress or Watcher()).show, trainable=trainable
        )
        return study, stop, read_ledger(tmp_path / "ledger")

    return run


def test_every_epoch_that_was_trained_is_in_the_study_and_nothing_else(start, redis_client):
    study, _, ledger = start(trials=12)
    assert study.state == "complete"
    trained = {(number, epoch) for number, _, epoch, _ in ledger}
    assert len(trained) == len(ledger)
    assert trained == {(trial.number, epoch) for trial in study.trials for epoch, _ in trial.values}
    assert all(score == scripted_score(trial.number, epoch) for trial in study.trials for epoch, score in trial.values)
    assert load_study(redis_client, "test").trials == study.trials
    by_snapshot = study_by_snapshot(redis_client, study.spec, None)
    assert by_snapshot is not None
    assert by_snapshot.trials == study.trials
    assert [run["packages"].keys() >= {"ray", "torch"} for run in study.environments] == [True]
    check_decisions(redis_client, study)
    assert lease.holder(redis_client, "test") is None


def test_trials_that_pause_at_a_rung_are_promoted_and_the_search_ends_when_nobody_can_be(start, redis_client):
    study, _, ledger = start(trials=12, asha="promote")
    assert study.state == "complete"
    assert study.counts["complete"] >= 1
    assert [rung["paused"] for rung in study.status()["rungs"]] == [0, 0]
    promoted = [trial for trial in study.trials if trial.attempt > 1]
    assert {trial.number for trial in promoted} == {number for number, _, epoch, _ in ledger if epoch == 2}
    found = audit(study.spec, RedisJournal(redis_client, "test"))
    assert (found.differences, found.decisions) == ([], 12 + sum(trial.attempt - 1 for trial in promoted))


@pytest.mark.parametrize("sampler", ["mfgp", "tpe"])
def test_the_suggestions_that_its_thread_made_while_workers_trained_are_made_again_from_the_record(
    start, redis_client, sampler
):
    study, _, _ = start(trials=30, sampler=sampler)
    journal = RedisJournal(redis_client, "test")
    assert (audit(study.spec, journal).differences, study.finished) == ([], 30)
    created = [entry for entry in journal.read_logs(0) if entry["op_code"] == 4]
    assert sum(KNEW in entry["user_attrs"] for entry in created) >= 15


def test_four_slots_keep_four_workers_busy_and_warm(start):
    study, _, ledger = start(FourTogether, trials=24)
    pids = Counter(pid for *_, pid in ledger)
    assert len(pids) == 4  # one process per slot for all 24 trials
    assert min(pids.values()) >= 0.5 * len(ledger) / 4
    assert study.finished == 24


def test_what_goes_wrong_is_recorded_as_it_was_and_the_search_goes_on(start):
    # No rung before the epoch of the NaN: whatever order the reports arrive in, that trial lives to give it.
    study, _, ledger = start(Misfortunes, trials=8, grace_period=2)
    states = {trial.number: trial.state for trial in study.trials}
    reasons = {trial.number: trial.reason for trial in study.trials if trial.state == "failed"}
    assert {number: reason["kind"] for number, reason in reasons.items()} == {
        1: "diverged",
        2: "out_of_memory",
        4: "lost",
    }
    assert study.trials[1].values == [(1, scripted_score(1, 1))]
    assert (study.trials[3].attempt, study.trials[4].attempt) == (3, 3)
    assert [states[number] for number in (0, 3, 5, 6, 7) if states[number] not in ("complete", "pruned")] == []
    assert study.state == "complete"
    assert {attempt for number, attempt, *_ in ledger if number == 4} == {1, 2, 3}
    assert "worker process has died" in reasons[4]["detail"]


def test_a_stopped_search_goes_on_where_it_was_and_repeats_no_finished_trial(start, redis_client):
    def stop_after_the_third(trial):
        if trial.number == 3 and trial.values:
            catalog.request_stop(redis_client, "test", now=False)

    watcher = Watcher(stop_after_the_third)
    stopped, stop, before = start(Slow, watcher, trials=40)
    assert (stopped.state, stop.why, watcher.reasons) == ("stopped", "asked by `tuner stop`", ["asked by `tuner stop`"])
    finished = {trial.number for trial in stopped.trials if trial.state in ("complete", "pruned")}

    study, _, rows = start(trials=40)
    assert study.state == "complete"
    again = rows[len(before) :]
    assert {number for number, *_ in again} & finished == set()
    assert {trial.number: trial.params for trial in stopped.trials}.items() <= {
        trial.number: trial.params for trial in study.trials
    }.items()


def test_a_time_budget_ends_the_run_and_keeps_everything(start):
    study, stop, _ = start(Slow, trials=1000, time_budget_s=3.0)
    assert stop.why == "the time budget is used up"
    assert study.state == "stopped"
    assert study.counts["running"] == 0
    assert study.finished < 1000


def test_a_budget_ends_the_search_is_counted_over_a_resume_and_changes_no_decision(start, redis_client):
    first, stop, ledger = start(Slow, trials=1000, budget="0.006cpuh")
    assert stop.why.startswith("the budget of 0.006 CPU-hours is used up: ")
    assert (first.state, first.counts["running"]) == ("stopped", 0)
    assert first.ledger.spent_h > 0.003
    assert len(first.trials) < 100
    check_decisions(redis_client, first)

    # On a busy machine the start of four processes alone may take more than what it was.
    budget = f"{first.ledger.spent_h + 0.006:.4f}cpuh"
    study, stop, rows = start(Slow, trials=1000, budget=budget)
    assert "CPU-hours is used up: " in stop.why
    assert study.ledger.spent_h > first.ledger.spent_h
    finished = {trial.number for trial in first.trials if trial.is_finished}
    assert {number for number, *_ in rows[len(ledger) :]} & finished == set()
    check_decisions(redis_client, study)
    # What others read, later or meanwhile, is the same.
    spec = StudySpec.from_json(catalog.read_spec(redis_client, "test"))
    assert spec.budget == "0.006cpuh"
    follower = Follower(redis_client, spec)
    follower.poll()
    for told in (load_study(redis_client, "test"), follower.study):
        assert (told.budget, told.ledger.spent_h) == (budget, study.ledger.spent_h)
    assert audit(spec, RedisJournal(redis_client, "test")).differences == []


def test_a_second_driver_is_refused_while_the_first_lives(start, redis_client):
    held = lease.acquire(redis_client, "test")
    with pytest.raises(LeaseHeld, match=f"process {os.getpid()}"):
        start(trials=4)
    held.release()


def test_a_driver_that_was_taken_over_stops_and_its_late_writes_are_refused(start, redis_client):
    def take_over(trial):
        if trial.number == 3:
            redis_client.incr(StudyKeys("test").fence)

    with pytest.raises(LeaseLost, match="taken over"):
        start(Slow, Watcher(take_over), trials=10)
    study = load_study(redis_client, "test")
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3]
    assert study.trials[3].values == []


def test_an_error_in_the_display_never_ends_the_search(start):
    def broken(trial):
        raise RuntimeError("no space left on the terminal")

    study, _, _ = start(progress=Watcher(broken), trials=4)
    assert study.state == "complete"


def test_a_finished_search_run_again_does_nothing(start):
    _, _, before = start(trials=4)
    study, _, after = start(trials=4)
    assert after == before
    assert study.state == "complete"


DRIVER = """
import sys
from pathlib import Path
from tests.replay import Watcher
from tests.trainables import Slow
from tuner.search import driver
from tuner.search.newtrials import KNEW
from tuner.snapshot import study_by_snapshot
from tuner.spec import Resources, StudySpec
from tuner.store import catalog, client
from tuner.submit import ray_cluster

url, ledger = sys.argv[1:]
store = client.connect(url)
spec = StudySpec.from_json(catalog.read_spec(store, "test"))
with ray_cluster(None, Resources(gpus=0, workers=2)) as (slots, _):
    driver.run(spec, store, slots, cache=Path(ledger), show=Watcher().show, trainable=Slow)
"""


def test_a_driver_killed_in_the_middle_is_taken_over_at_once_and_its_rungs_are_the_same(
    start, redis_client, redis_url, tmp_path
):
    spec = new_spec(storage=str(tmp_path / "storage"), trials=10)
    catalog.create_study(redis_client, "test", spec.to_json())
    ledger = tmp_path / "ledger"
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, redis_url, str(ledger)], cwd=ROOT, start_new_session=True, env=os.environ
    )
    try:
        wait_until(lambda: load_study(redis_client, "test").finished >= 3, process)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    killed = load_study(redis_client, "test")
    before = read_ledger(ledger)

    study, _, rows = start(trials=10)
    assert study.state == "complete"
    finished = {trial.number: trial for trial in killed.trials if trial.state in ("complete", "pruned", "failed")}
    assert len(finished) >= 3
    assert {trial.number: trial for trial in study.trials if trial.number in finished} == finished
    assert {number for number, *_ in rows[len(before) :]} & finished.keys() == set()
    assert all(score == scripted_score(trial.number, epoch) for trial in study.trials for epoch, score in trial.values)
    check_decisions(redis_client, study)


def wait_until(condition, process, timeout_s=60.0):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, "the driver ended by itself"
        assert time.monotonic() < deadline_s, "nothing happened in time"
        threading.Event().wait(0.1)
