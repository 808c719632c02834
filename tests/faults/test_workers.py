"""Workers that are killed, hang, break, or fail between two trials: the search goes on, no trial pays for another."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import ray

from tests.factories import new_spec
from tests.replay import Watcher, read_ledger
from tests.trainables import DiesInReset, HangsInReset, RaisesInReset, Unlucky, scripted_score
from tuner.search import driver, watch
from tuner.spec import Resources
from tuner.store import catalog
from tuner.store.keys import StudyKeys
from tuner.submit import ray_cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def slots():
    """A local Ray with two slots."""
    with ray_cluster(None, Resources(gpus=0, workers=2)) as counted:
        yield counted[0]


@pytest.fixture
def run(redis_client, slots, tmp_path, monkeypatch):
    """Run a search of eight trials in which nobody is pruned: (study, ledger rows)."""
    monkeypatch.setattr(watch, "FIRST_EPOCH_EXTRA_S", 12.0)

    def search(trainable, progress_timeout_s):
        spec = new_spec(storage=str(tmp_path / "storage"), trials=8, max_epochs=3, grace_period=3)
        catalog.create_study(redis_client, spec.name, spec.to_json())
        ledger = tmp_path / "ledger"
        study, _ = driver.run(
            spec,
            redis_client,
            slots,
            cache=ledger,
            show=Watcher().show,
            trainable=trainable,
            progress_timeout_s=progress_timeout_s,
        )
        return study, read_ledger(ledger)

    return search


def check_complete(trial):
    assert (trial.state, trial.reason) == ("complete", None)
    assert trial.values == [(epoch, scripted_score(trial.number, epoch)) for epoch in (1, 2, 3)]


def check_nothing_is_left(rows):
    """All workers have ended, and Ray has its CPUs back."""
    deadline_s = time.monotonic() + 30
    pids = {pid for *_, pid in rows}
    while any(Path(f"/proc/{pid}").exists() for pid in pids) or (
        ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"]
    ):
        assert time.monotonic() < deadline_s, f"of {pids} some live, CPUs: {ray.available_resources()}"
        time.sleep(0.2)


def test_a_worker_that_is_killed_hangs_or_breaks_costs_its_trial_an_attempt_and_no_more(run):
    study, rows = run(Unlucky, progress_timeout_s=3.0)
    assert study.state == "complete"
    attempts = {trial.number: trial.attempt for trial in study.trials}
    assert attempts == {0: 1, 1: 2, 2: 2, 3: 3, 4: 2, 5: 1, 6: 1, 7: 1}
    for trial in study.trials:
        if trial.number != 3:
            check_complete(trial)
    for number in (1, 2, 4):
        first, again = ([row for row in rows if row[:2] == (number, attempt)] for attempt in (1, 2))
        assert [epoch for _, _, epoch, _ in first] == [1, 2]
        assert [epoch for _, _, epoch, _ in again] == [2, 3]  # from the checkpoint of epoch 1
        assert first[-1][-1] != again[0][-1]  # in another process
        assert first[-1][-1] not in [pid for *_, pid in rows[rows.index(first[-1]) + 1 :]]

    lost = study.trials[3]
    assert (lost.state, lost.reason["kind"], lost.values) == ("failed", "lost", [])
    assert lost.reason["detail"].startswith("3 workers were lost with it, the last one: no progress for ")
    check_nothing_is_left(rows)


@pytest.mark.parametrize(
    ("trainable", "progress_timeout_s"), [(DiesInReset, 60.0), (RaisesInReset, 60.0), (HangsInReset, 5.0)]
)
def test_a_worker_that_fails_between_two_trials_is_replaced_and_the_next_trial_is_not_blamed(
    run, trainable, progress_timeout_s, redis_client
):
    study, rows = run(trainable, progress_timeout_s)
    assert (study.state, study.counts["complete"]) == ("complete", 8)
    for trial in study.trials:
        check_complete(trial)
    assert len(rows) == len({row[:3] for row in rows}) == 24  # no epoch was trained twice
    assert max(study.trials[number].attempt for number in (2, 3)) >= 2  # it did go wrong
    entries = redis_client.lrange(StudyKeys("test").journal, 0, -1)
    losses = [
        (entry["trial_id"], entry["user_attr"]["losses"])
        for entry in map(json.loads, entries)
        if "losses" in entry.get("user_attr", {})
    ]
    assert {number for number, _ in losses} <= {2, 3}
    assert {count for _, count in losses} == {0}
    check_nothing_is_left(rows)
