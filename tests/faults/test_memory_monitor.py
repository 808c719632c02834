"""Ray's own memory monitor kills a worker: its trial goes on elsewhere, and one that fills the machine each time fails.

The monitor looks at the memory of the whole machine, so the cluster of this test is allowed a quarter of what is free
when it starts: enough for Ray, a worker, and whatever else begins to run meanwhile. One slot: of several workers Ray
would kill the youngest, whoever holds the memory.
"""

from __future__ import annotations

import time
from typing import Any

import psutil
import pytest
from ray._private.utils import get_used_memory
from ray.tune import Trainable

from tests.factories import new_spec
from tests.faults.cluster import environment, use_token
from tests.integration.test_readme import Cluster
from tests.replay import Watcher, read_ledger
from tests.trainables import Scripted, scripted_score
from tuner.launch import load_study
from tuner.search import driver
from tuner.spec import Resources
from tuner.store import catalog
from tuner.submit import ray_cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

MIB = 1 << 20
LEAST, MOST = 1200 * MIB, 5000 * MIB  # Ray and an idle worker take 800 MiB; filling more would take long


class Hoarder(Scripted):
    """Trial 1 fills the memory in the second epoch of its first attempt, trial 2 in its first epoch, always."""

    def step(self) -> dict[str, Any]:
        number, attempt = self.assignment.number, self.assignment.attempt
        if (number == 1 and attempt == 1 and self.epoch == 1) or number == 2:
            hoard = []
            while len(hoard) * 25 * MIB < MOST + 500 * MIB and psutil.virtual_memory().available > 500 * MIB:
                hoard.append(b"\1" * (25 * MIB))
                time.sleep(0.002)
            time.sleep(3.0)
            raise AssertionError(f"Ray's memory monitor let {len(hoard) * 25} MiB pass")
        return super().step()


@pytest.fixture
def slots(tmp_path):
    """One slot of a cluster on which the memory is short."""
    memory = psutil.virtual_memory()
    allowed = min(memory.available // 4, MOST)
    if allowed < LEAST:
        pytest.skip(f"only {memory.available // MIB} MiB of memory are free: filling them could hurt others")
    use_token()
    threshold = (get_used_memory() + allowed) / memory.total
    settings = {"RAY_memory_usage_threshold": f"{threshold:.6f}", "RAY_memory_monitor_refresh_ms": "50"}
    cluster = Cluster(["ray", "start", "--head"], environment(**settings), tmp_path / "ray.log")
    try:
        with ray_cluster(cluster.address, Resources(gpus=0, workers=1)) as counted:
            yield counted[0]
    finally:
        cluster.stop()


def test_a_trial_killed_for_memory_goes_on_and_one_that_always_is_fails_with_that_reason(redis_client, slots, tmp_path):
    assert issubclass(Hoarder, Trainable)
    spec = new_spec(storage=str(tmp_path / "storage"), trials=4, max_epochs=3, grace_period=3)
    catalog.create_study(redis_client, spec.name, spec.to_json())
    ledger = tmp_path / "ledger"
    driver.run(spec, redis_client, slots, cache=ledger, show=Watcher().show, trainable=Hoarder)

    study = load_study(redis_client, "test")
    assert [(trial.state, trial.attempt) for trial in study.trials] == [
        ("complete", 1),
        ("complete", 2),
        ("failed", 3),
        ("complete", 1),
    ]
    for number in (0, 1, 3):
        assert study.trials[number].values == [(epoch, scripted_score(number, epoch)) for epoch in (1, 2, 3)]
    reason = study.trials[2].reason
    assert reason["kind"] == "lost"
    assert reason["detail"].startswith(
        "3 workers were lost with it, the last one: Ray's memory monitor ended its process, for its machine ran low on "
        "memory ("
    )
    first, second = (
        {pid for number, attempt, _, pid in read_ledger(ledger) if (number, attempt) == (1, a)} for a in (1, 2)
    )
    assert len(first) == len(second) == 1
    assert first != second
