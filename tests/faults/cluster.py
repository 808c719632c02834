"""Ray clusters that outlive the drivers on them, and machines of a cluster that can be killed or frozen.

Starting Ray costs more than all else of a test, so the tests of a module share a cluster.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled
from ray._raylet import Config

from tests.integration.test_readme import Cluster

ROOT = Path(__file__).parent.parent.parent


def environment(**more: str) -> dict[str, str]:
    """Of a process that runs the program and the tests' trainables."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TUNER_", "RAY_"))}
    path = f"{Path(sys.executable).parent}:{kept['PATH']}"
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "token", **more}


def use_token() -> None:
    """Let this process join a cluster of a test, whatever it did with Ray before."""
    os.environ["RAY_AUTH_MODE"] = "token"
    Config.initialize("")  # Ray read its environment when it was imported
    ensure_token_if_auth_enabled()


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """A cluster of one machine with two CPUs; gives its address. The process that calls this can join it then."""
    use_token()
    started = Cluster(["ray", "start", "--head"], environment(), folder / "ray.log")
    try:
        yield started.address
    finally:
        started.stop()


def start_driver(script: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
    """A driver in a process and session of its own: Python code with arguments."""
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, env=environment(**variables))


class Machine:
    """A machine of a cluster, as far as Ray can tell: a raylet and its workers, in a session of their own.

    The head of a new cluster, or with `joins` one more machine of the one there. Its GPUs are numbers only; with
    `autoscaling` it adds machines by that configuration; `settings` are Ray's.
    """

    def __init__(
        self,
        log: Path,
        *,
        cpus: int,
        gpus: int = 0,
        joins: str | None = None,
        autoscaling: dict[str, Any] | None = None,
        **settings: str,
    ) -> None:
        self.address = joins or f"127.0.0.1:{_free_port()}"
        where = [f"--address={joins}"]
        if joins is None:
            client_port = f"--ray-client-server-port={_free_port()}"
            where = ["--head", f"--port={self.address.rpartition(':')[2]}", client_port, "--include-dashboard=false"]
        if autoscaling is not None:
            autoscaling["provider"]["gcs_address"] = self.address
            config = log.with_name("autoscaling.json")
            config.write_text(json.dumps(autoscaling))
            where.append(f"--autoscaling-config={config}")
        # Without them the machines would hand out the same ports to their workers.
        ports = ["--min-worker-port=0", "--max-worker-port=0"]
        self._log = log
        with log.open("w") as output:
            self._process = subprocess.Popen(
                ["ray", "start", "--block", f"--num-cpus={cpus}", f"--num-gpus={gpus}", *where, *ports],
                env=environment(**settings),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait_until_started(self) -> None:
        """Two that join at once would take each other's sockets, so wait for one before the next."""
        deadline_s = time.monotonic() + 60
        while "Ray runtime started" not in self._log.read_text():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline_s, self._log.read_text()
            time.sleep(0.1)

    def pids(self, command: str = "") -> list[int]:
        """Of its processes, those with `command` in their command line."""
        found = []
        for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
            with suppress(ProcessLookupError, FileNotFoundError):
                if os.getsid(pid) == self._process.pid and command in Path(f"/proc/{pid}/cmdline").read_text():
                    found.append(pid)
        return found

    def signal(self, number: signal.Signals) -> None:
        """To all its processes at once."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """As a machine that loses its power; without effect on one that is gone."""
        self.signal(signal.SIGKILL)
        self._process.wait(timeout=10)

    def kill_gcs(self) -> None:
        """Only the GCS: `ray start`, which would end all else after it, is stopped first."""
        self._process.send_signal(signal.SIGSTOP)
        (gcs,) = self.pids("gcs_server")
        os.kill(gcs, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
