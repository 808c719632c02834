"""Fixtures that several tests share: a real Redis, started as the program starts its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tuner.store import client, embedded, server


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
