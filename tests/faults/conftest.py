"""Fixtures that several tests of faults share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.cluster import cluster
from tests.faults.redis_search import Server
from tuner.store import embedded


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a cluster of one machine with two CPUs."""
    with cluster(tmp_path_factory.mktemp("ray")) as address:
        yield address


@pytest.fixture
def server(redis_home: Path) -> Iterator[Server]:
    """A Redis of this test's own. `redis_home` skips where there is none."""
    home = Path(tempfile.mkdtemp(prefix="tuner-fault-"))
    started = Server(home)
    try:
        yield started
    finally:
        embedded.stop(home)
        shutil.rmtree(home)
