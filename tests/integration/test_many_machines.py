"""A search on several machines: how many trials at once, machines that join meanwhile, storage that all must see.

Each "machine" is a raylet of this one, whose GPUs are numbers only; nothing is trained.
"""

from __future__ import annotations

import time
from collections import Counter

import pytest

from tests.factories import new_spec
from tests.faults.cluster import Machine, start_driver, use_token
from tests.replay import Watcher
from tests.trainables import Scripted
from tuner import probe
from tuner.errors import ClusterError
from tuner.launch import load_study
from tuner.nodes import can_grow
from tuner.probe import check_machines
from tuner.search import driver
from tuner.spec import Resources
from tuner.store import catalog
from tuner.submit import ray_cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

DRIVER = """
import sys
from pathlib import Path
from tests.replay import Watcher
from tests.trainables import Crowd
from tuner.search import driver
from tuner.spec import StudySpec
from tuner.store import catalog, client
from tuner.submit import ray_cluster

url, ledger, address = sys.argv[1:]
store = client.connect(url)
spec = StudySpec.from_json(catalog.read_spec(store, "test"))
with ray_cluster(address, spec.resources) as (slots, _):
    print(*slots.notes, flush=True)
    driver.run(spec, store, slots, cache=Path(ledger), show=Watcher().show, trainable=Crowd)
"""


@pytest.fixture(scope="module")
def start_machine(tmp_path_factory):
    """Start a machine with two GPUs and wait for it; all are killed with the module."""
    machines = []

    def start(joins=None, gpus=2, **options):
        machines.append(Machine(tmp_path_factory.mktemp("machine") / "log", cpus=2, gpus=gpus, joins=joins, **options))
        machines[-1].wait_until_started()
        return machines[-1]

    yield start
    for machine in machines:
        machine.kill()


@pytest.fixture(scope="module")
def address(start_machine):
    """Of a cluster of two machines with four GPUs."""
    use_token()
    head = start_machine()
    start_machine(head.address)
    return head.address


def wait_for(condition, process):
    deadline_s = time.monotonic() + 90
    while not condition():
        assert process.poll() is None, "the driver ended"
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.1)


def test_a_search_fills_all_gpus_up_to_those_asked_for_and_takes_up_a_machine_that_joins(
    redis_client, redis_url, address, start_machine, tmp_path
):
    (tmp_path / "crowd").write_text("0")
    spec = new_spec(
        storage=str(tmp_path / "storage"), trials=8, max_epochs=2, grace_period=1, resources=Resources(gpus=5)
    )
    catalog.create_study(redis_client, "test", spec.to_json())
    process = start_driver(DRIVER, redis_url, str(tmp_path / "ledger"), address)

    def machines():
        return Counter(file.read_text() for file in tmp_path.glob("*.at"))

    wait_for(lambda: sum(machines().values()) >= 4, process)
    assert sorted(machines().values()) == [2, 2]
    start_machine(address)
    wait_for(lambda: sum(machines().values()) >= 5, process)
    assert sorted(machines().values()) == [1, 2, 2]
    running = [trial for trial in load_study(redis_client, "test").trials if trial.state == "running"]
    assert len(running) == 5  # not six, although there are six GPUs now
    (tmp_path / "crowd").write_text("9")
    assert process.wait(timeout=60) == 0
    assert load_study(redis_client, "test").state == "complete"


def test_gpus_that_must_be_there_are_waited_for_and_then_refused(address, monkeypatch):
    monkeypatch.setattr("tuner.submit.STRICT_WAIT_S", 1.5)
    there = 6
    line = rf"the cluster has {there} of the 9 GPUs asked for, after 2 s: add machines, or leave out --strict-gpus"
    begun_s = time.monotonic()
    with pytest.raises(ClusterError, match=line), ray_cluster(address, Resources(gpus=9), strict_gpus=True):
        pass
    assert time.monotonic() - begun_s >= 1.5
    with ray_cluster(address, Resources(gpus=there), strict_gpus=True) as (slots, _):
        assert (slots.count, slots.can_grow, can_grow()) == (there, False, False)


def test_storage_that_not_all_machines_see_is_refused_by_the_name_of_one(address, tmp_path, monkeypatch):
    with ray_cluster(address, Resources(gpus=1)):
        check_machines(tmp_path / "shared")
        assert list((tmp_path / "shared").iterdir()) == []
        # What the machines see of it is a folder of their own.
        monkeypatch.setattr(probe, "look_at", lambda storage, theirs, mine: look_elsewhere(storage, theirs, mine))
        with pytest.raises(ClusterError, match=r"storage .*/shared is not shared with machine .* \(it does not see"):
            check_machines(tmp_path / "shared")
        monkeypatch.setattr(probe, "__version__", "9.9.9")
        with pytest.raises(ClusterError, match=r"has tuner 0.*, this one 9\.9\.9: install the same"):
            check_machines(tmp_path / "shared")
        assert list((tmp_path / "shared").iterdir()) == []


def look_elsewhere(storage, theirs, mine):
    return look_at(f"{storage}-of-this-machine", theirs, mine)


look_at = probe.look_at


def test_a_cluster_without_a_gpu_that_can_grow_grows_for_the_search(redis_client, start_machine, tmp_path):
    use_token()
    # Ray's own provider for tests: its machines are raylets of this one. All but a few keys say "nothing".
    maps = {key: {} for key in ("auth", "docker", "file_mounts")}
    kinds_of_commands = ("head_start_ray", "worker_start_ray", "head_setup", "worker_setup", "setup", "initialization")
    lists = {f"{kind}_commands": [] for kind in kinds_of_commands}
    lists |= {key: [] for key in ("cluster_synced_files", "rsync_exclude", "rsync_filter")}
    kinds = {
        "ray.head.default": {"resources": {"CPU": 2}, "node_config": {}, "max_workers": 0},
        "with-gpu": {"resources": {"CPU": 2, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
    }
    autoscaling = {
        **maps,
        **lists,
        "cluster_name": "test",
        "max_workers": 2,
        "upscaling_speed": 9.0,
        "idle_timeout_minutes": 9,
        "file_mounts_sync_continuously": False,
        "head_node_type": "ray.head.default",
        "available_node_types": kinds,
        "provider": {"type": "fake_multinode", "disable_launch_config_check": True, "disable_node_updaters": True},
    }
    quick = {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
    head = start_machine(gpus=0, autoscaling=autoscaling, **quick)
    spec = new_spec(storage=str(tmp_path / "storage"), trials=3, resources=Resources(gpus=1))
    catalog.create_study(redis_client, "test", spec.to_json())
    with pytest.raises(ClusterError, match="no GPU now but can grow"), ray_cluster(head.address, Resources()):
        pass
    with ray_cluster(head.address, spec.resources) as (slots, _):
        assert (slots.count, slots.at_once(0)) == (0, 1)
        assert slots.notes[0].endswith(
            "has 0 of the 1 GPUs asked for and can grow: waiting for machines that have some"
        )
        show = Watcher().show
        study, _ = driver.run(spec, redis_client, slots, cache=tmp_path / "ledger", show=show, trainable=Scripted)
    assert study.state == "complete"
