"""Fixtures that several tests of faults share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.cluster import cluster


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a cluster of one machine with two CPUs."""
    with cluster(tmp_path_factory.mktemp("ray")) as address:
        yield address
