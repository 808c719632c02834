"""Fixtures that several tests share: a real Redis, started as the program starts its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from tuner.store import client, embedded, server

if TYPE_CHECKING:
    from tuner.study import Study


@pytest.fixture(scope="session")
def redis_home() -> Iterator[Path]:
    """A TUNER_HOME whose private Redis runs for as long as the tests do."""
    if server.find_binary() is None and not os.environ.get("CI"):
        pytest.skip("no redis-server on this machine: `apt-get install redis-server`")
    # Not tmp_path: a socket's path must be short.
    home = Path(tempfile.mkdtemp(prefix="tuner-test-"))
    try:
        embedded.ensure_running(home)
        yield home
    finally:
        embedded.stop(home)
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def redis_url(redis_home: Path) -> str:
    return embedded.ensure_running(redis_home)


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of an empty Redis."""
    with client.connect(redis_url) as connected:
        connected.flushall()
        yield connected


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of decoded data that the tests of a module share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def study(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A small network trained on the digits, as a study of a module's own."""
    from tests.trained import train
    from tuner.training.dataspec import DataSpec

    return train(DataSpec(dataset="digits", data_dir="/nowhere"), cache, tmp_path_factory.mktemp("storage"))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch with a single thread, so that a result does not depend on how many cores there are."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
