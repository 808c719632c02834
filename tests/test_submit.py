"""Joining Ray: what is refused before it starts, and where nobody listens."""

import socket

import pytest

from tuner.errors import ClusterError, UsageError
from tuner.spec import Resources
from tuner.submit import default_workers, ray_cluster, refuse_unusable


@pytest.mark.parametrize("resources", [{"trials_per_gpu": 0}, {"trials_per_gpu": "many"}, {"workers": 0}, {"gpus": -1}])
def test_numbers_out_of_range_are_refused_before_ray_starts(resources):
    with pytest.raises(UsageError), ray_cluster(None, Resources(**resources)):
        pass


@pytest.mark.parametrize("gpus", [None, 0])
def test_strict_gpus_need_a_number(gpus):
    with pytest.raises(UsageError, match="--strict-gpus needs the number of GPUs"):
        refuse_unusable(None, Resources(gpus=gpus), strict_gpus=True)


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
