"""A Ray cluster that outlives the drivers that are killed on it: starting one costs more than all else of a test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled
from ray._raylet import Config

from tests.integration.test_readme import Cluster

ROOT = Path(__file__).parent.parent.parent


def environment(**more: str) -> dict[str, str]:
    """Of a process that runs the program and the tests' trainables."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TUNER_", "RAY_"))}
    path = f"{Path(sys.executable).parent}:{kept['PATH']}"
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "token", **more}


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """A cluster of one machine with two CPUs; gives its address.

    The process that calls this can join it then, whatever it did with Ray before.
    """
    os.environ["RAY_AUTH_MODE"] = "token"
    Config.initialize("")  # Ray read its environment when it was imported
    ensure_token_if_auth_enabled()
    started = Cluster(["ray", "start", "--head"], environment(), folder / "ray.log")
    try:
        yield started.address
    finally:
        started.stop()


def start_driver(script: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
    """A driver in a process and session of its own: Python code with arguments."""
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, env=environment(**variables))
