"""Joining real clusters, with and without token authentication, by this machine's address in the network."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from tests.faults.cluster import ROOT, environment
from tests.integration.test_readme import Cluster
from tuner.errors import ClusterError
from tuner.ray_token import use_token

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TOKEN = "of-this-test-" * 4
JOIN = """
import sys
from tuner.spec import Resources
from tuner.submit import ray_cluster
with ray_cluster(sys.argv[1], Resources(gpus=0, workers=1), insecure=True) as (slots, _):
    print(slots.count)
"""


@pytest.fixture(scope="module")
def own_address():
    """This machine's address in the network; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no network, so no address but loopback")
        return probe.getsockname()[0]


@pytest.fixture
def new_cluster(own_address, tmp_path):
    started = []

    def start(**variables):
        started.append(Cluster(["ray", "start", "--head"], environment(**variables), tmp_path / "ray.log"))
        return f"{own_address}:{started[-1].address.rpartition(':')[2]}"

    yield start
    for cluster in started:
        cluster.stop()


def test_a_cluster_with_a_token_lets_in_who_has_it_and_tells_the_others(new_cluster, monkeypatch, tmp_path):
    address = new_cluster(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(ClusterError, match=f"the cluster at {address} asks for a token and this machine has none"):
        use_token(address, insecure=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
    with pytest.raises(ClusterError, match=f"the cluster at {address} refuses the token in RAY_AUTH_TOKEN"):
        use_token(address, insecure=True)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    use_token(address, insecure=False)


def test_an_open_cluster_is_refused_and_joined_on_demand_by_who_has_a_token(new_cluster, monkeypatch):
    address = new_cluster(RAY_AUTH_MODE="disabled")
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    with pytest.raises(ClusterError, match=f"the cluster at {address} asks for no token"):
        use_token(address, insecure=False)
    joining = environment(RAY_AUTH_TOKEN=TOKEN)
    del joining["RAY_AUTH_MODE"]
    result = subprocess.run(
        [sys.executable, "-c", JOIN, address], env=joining, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stdout.strip()) == (0, "1"), result.stderr
