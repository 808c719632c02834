"""The driver is killed at each durable step, by SIGKILL to itself, and the search is resumed by another one.

Nothing is trained: the trainable writes each epoch that it runs into a ledger of its own, which is what the study is
compared with. Before the driver starts, four trials are in the journal; it wants ten, and more epochs.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.factories import new_spec
from tests.faults.cluster import start_driver
from tests.replay import Watcher, check_decisions, read_ledger
from tests.trainables import Eventful, scripted_score
from tuner import failpoints
from tuner.launch import load_study
from tuner.search import driver
from tuner.search.record import StudyRecord
from tuner.spec import Resources
from tuner.store import catalog, lease
from tuner.store.journal import RedisJournal
from tuner.submit import ray_cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

DRIVER = """
import sys
from pathlib import Path
from tests.replay import Watcher
from tests.trainables import Eventful
from tuner.search import driver
from tuner.spec import Resources, StudySpec
from tuner.store import catalog, client
from tuner.submit import ray_cluster

url, ledger, address = sys.argv[1:]
store = client.connect(url)
spec = StudySpec.from_json(catalog.read_spec(store, "test"))
with ray_cluster(address, Resources(gpus=0, workers=2)) as (slots, _):
    wanted = {"trials": 10, "max_epochs": 9}
    driver.run(spec, store, slots, cache=Path(ledger), show=Watcher().show, trainable=Eventful, **wanted)
"""
# Each driver of a chain is killed at the next point. Steps that come often are also cut where much has happened before.
CHAINS = {
    "start": [f"{when}-{step}" for step in failpoints.DRIVER_STEPS[:4] for when in ("before", "after")],
    "launch": [f"{when}-{step}" for step in ("trial-relaunched", "trial-created") for when in ("before", "after")],
    "report": [f"{point}{nth}" for nth in ("", ":4") for point in failpoints.DRIVER if "report" in point],
    "loss": ["before-loss-committed", "after-loss-committed"],
    "end": [
        f"{when}-{step}"
        for step in ("failure-committed", "checkpoints-discarded", "lease-released")
        for when in ("before", "after")
    ],
}


def test_the_chains_have_every_failpoint_of_the_driver():
    assert {point.partition(":")[0] for chain in CHAINS.values() for point in chain} == set(failpoints.DRIVER)


@pytest.fixture(scope="module")
def slots(address):
    """Two slots of the cluster, for the driver that resumes."""
    with ray_cluster(address, Resources(gpus=0, workers=2)) as counted:
        yield counted[0]


def finish_four_trials(redis_client, spec, ledger):
    """Three complete ones, of which ASHA continues one, and a pruned one, without a Ray."""
    catalog.create_study(redis_client, spec.name, spec.to_json())
    held = lease.acquire(redis_client, spec.name)
    record = StudyRecord(spec, RedisJournal(redis_client, spec.name, held.fence))
    trainable = object.__new__(Eventful)
    trainable.spec, trainable.ledger = spec, str(ledger)
    while (assignment := record.next_assignment()) is not None:
        trainable.reset_config(vars(assignment))
        while record.report(assignment, trainable.step()["report"]):
            pass
    held.release()


@pytest.mark.parametrize("chain", CHAINS)
def test_drivers_killed_at_each_step_lose_nothing_and_repeat_no_decision(
    chain, redis_client, redis_url, address, slots, tmp_path
):
    spec = new_spec(storage=str(tmp_path / "storage"), trials=4, max_epochs=3)
    ledger = tmp_path / "ledger"
    finish_four_trials(redis_client, spec, ledger)
    ended = ended_trials(load_study(redis_client, "test"))
    assert len(ended) == 4
    for point in CHAINS[chain]:
        rows = read_ledger(ledger)
        process = start_driver(DRIVER, redis_url, str(ledger), address, TUNER_FAILPOINT=point)
        assert process.wait(timeout=60) == -signal.SIGKILL, f"{point} was not reached"
        ended = check_what_is_final(load_study(redis_client, "test"), ended, read_ledger(ledger)[len(rows) :])

    rows = read_ledger(ledger)
    wanted = {"trials": 10, "max_epochs": 9}
    study, _ = driver.run(spec, redis_client, slots, cache=ledger, show=Watcher().show, trainable=Eventful, **wanted)
    assert (study.state, len(study.trials), study.counts["failed"]) == ("complete", 11, 1)
    assert load_study(redis_client, "test") == study
    check_what_is_final(study, ended, read_ledger(ledger)[len(rows) :])
    check_decisions(redis_client, study)
    check_against_ledger(study, read_ledger(ledger))
    check_files(study, Path(spec.storage))
    assert lease.holder(redis_client, "test") is None


def ended_trials(study):
    return {trial.number: trial for trial in study.trials if trial.is_finished}


def check_what_is_final(study, ended, new_rows):
    """Trials that had ended are as they were, and none of their epochs was trained since; all that have ended now."""
    assert {number: study.trials[number] for number in ended} == ended
    assert {number for number, *_ in new_rows} & ended.keys() == set()
    return ended_trials(study)


def check_against_ledger(study, rows):
    """Each score is that of an epoch that was trained, and an attempt repeats one epoch at most."""
    trained = {(number, epoch) for number, _, epoch, _ in rows}
    reported = {(trial.number, epoch) for trial in study.trials for epoch, _ in trial.values}
    assert trained - reported == {(5, 1)}  # the score that was NaN
    assert reported <= trained
    assert all(score == scripted_score(trial.number, epoch) for trial in study.trials for epoch, score in trial.values)
    for trial in study.trials:
        epochs = [epoch for number, _, epoch, _ in rows if number == trial.number]
        assert len(epochs) - len(set(epochs)) <= trial.attempt - 1
    (continued,) = [trial for trial in study.trials if trial.continues is not None]
    assert continued.continues == 2
    assert [epoch for epoch, _ in continued.values] == [4, 5, 6, 7, 8, 9]


def check_files(study, storage):
    """What is on the disk are the checkpoints of complete trials, nothing of pruned and failed ones."""
    kept = {ref["path"] for trial in study.trials for ref in (trial.checkpoint, trial.best_checkpoint) if ref}
    assert {str(path) for path in storage.rglob("*.safetensors")} == kept
    assert len(kept) == 2 * study.counts["complete"]
