"""How many trials run at once, from what a cluster has and what the user asked for."""

import socket

import pytest

from tuner.errors import ClusterError, UsageError
from tuner.spec import Resources
from tuner.submit import Slots, _count_slots, default_workers, ray_cluster

EIGHT = {"CPU": 64.0, "GPU": 8.0}
NONE = {"CPU": 16.0}


def count(available, local=False, **resources):
    return _count_slots(available, Resources(**resources), "", local=local)


@pytest.mark.parametrize(
    ("available", "resources", "expected"),
    [
        (EIGHT, {"gpus": 8}, Slots(8, 1.0, 1.0, 1, "")),
        (EIGHT, {"gpus": None}, Slots(8, 1.0, 1.0, 1, "")),
        (EIGHT, {"gpus": 2, "trials_per_gpu": 4}, Slots(8, 1.0, 0.25, 1, "")),
        (EIGHT, {"gpus": 0, "workers": 4}, Slots(4, 16, 0.0, 16, "")),
        (NONE, {"gpus": 0, "workers": 2}, Slots(2, 8, 0.0, 8, "")),
        (NONE, {"gpus": 0, "workers": 64}, Slots(64, 1, 0.0, 1, "")),
    ],
)
def test_slots(available, resources, expected):
    assert count(available, **resources) == expected


def test_fewer_gpus_than_asked_for_is_said_and_the_search_starts_with_those():
    slots = count(EIGHT, gpus=16)
    assert (slots.count, slots.notes) == (8, ("the cluster has 8 of the 16 GPUs asked for: starting with 8",))


def test_no_gpu_at_all_is_refused_by_number_and_named_without():
    with pytest.raises(ClusterError, match="this machine has no GPU, 2 asked for: give --gpus 0"):
        count(NONE, local=True, gpus=2)
    slots = count(NONE, local=True, gpus=None, workers=2)
    assert slots.notes == ("this machine has no GPU: training on CPUs",)


@pytest.mark.parametrize("resources", [{"trials_per_gpu": 0}, {"workers": 0}, {"gpus": -1}])
def test_numbers_out_of_range_are_refused_before_ray_starts(resources):
    with pytest.raises(UsageError), ray_cluster(None, Resources(**resources)):
        pass


def test_an_address_where_nobody_listens_is_said_at_once():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(ClusterError, match=f"nothing answers at {address}"), ray_cluster(address, Resources(gpus=0)):
        pass


@pytest.mark.parametrize("address", ["http://head:8265", "head", "head:", ":6379", "ray://head:10001/x"])
def test_an_address_of_another_kind_is_refused_with_the_right_one(address):
    with pytest.raises(UsageError, match="HOST:PORT"), ray_cluster(address, Resources(gpus=0)):
        pass


def test_two_trials_at_once_unless_there_is_one_core(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    assert default_workers() == 2
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert default_workers() == 1
