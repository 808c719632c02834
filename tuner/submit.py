"""Ray: start a private local one or join a cluster, and count what trials can run at once."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuner.errors import ClusterError, UsageError, first_line
from tuner.network import is_loopback
from tuner.slots import Node, Slots, count_slots
from tuner.spec import Resources

CONNECT_TIMEOUT_S = 5.0
PROBE_TIMEOUT_S = 60.0


def default_workers() -> int:
    """Trials at once on CPUs unless the user says otherwise: two, or one on a single core."""
    return min(2, os.cpu_count() or 1)


@contextlib.contextmanager
def ray_cluster(address: str | None, resources: Resources, *, insecure: bool = False) -> Iterator[tuple[Slots, str]]:
    """A running Ray for the `with` block: a private local one without an address, else the cluster at `address`.

    Gives the slots and the URL of the dashboard, which is empty if there is none.
    A local Ray is ended with the block; a cluster is only left. Raises ClusterError when it cannot be reached or has no
    GPU of those asked for, UsageError for numbers out of range.
    """
    if resources.trials_per_gpu < 1:
        raise UsageError(f"trials-per-gpu = {resources.trials_per_gpu} is too small: it must be at least 1")
    if resources.workers < 1:
        raise UsageError(f"workers = {resources.workers} is too small: it must be at least 1")
    if resources.gpus is not None and resources.gpus < 0:
        raise UsageError(f"gpus = {resources.gpus} is negative: give 0 for CPUs, or how many GPUs to use at once")
    if address is not None:
        _check_address(address)
        _use_token(address, insecure=insecure)
    # What later Rays do by default, and this one warns of: not to touch CUDA_VISIBLE_DEVICES of workers without a GPU.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import ray

        dashboard_url = _connect(address, resources.workers)
    try:
        where = "this machine" if address is None else "the cluster"
        yield count_slots(_nodes(ray.nodes()), resources, where), dashboard_url
    finally:
        ray.shutdown()


def _connect(address: str | None, workers: int) -> str:
    import ray

    cores = os.cpu_count() or 1
    try:
        if address is None:
            context = ray.init(
                address="local",  # without it Ray joins any cluster that happens to run on this machine
                num_cpus=max(cores, workers),
                include_dashboard=True,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
            _close_token_file()
        else:
            context = ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
            _check_that_actors_start(address)
    except ClusterError:
        ray.shutdown()
        raise
    except Exception as error:
        if address is None:
            raise ClusterError(f"a local Ray could not be started: {first_line(error)}") from error
        raise ClusterError(
            f"no Ray cluster could be joined at {address} ({first_line(error)}): check the address and the token "
            "(`ray get-auth-token`), or leave out --address to use this machine alone"
        ) from error
    url = getattr(context, "dashboard_url", None)
    return f"http://{url}" if url else ""


def _check_that_actors_start(address: str) -> None:
    """In token mode a cluster without authentication can be joined, but starts no actor of ours (Ray 2.60)."""
    import ray

    class Probe:
        def answer(self) -> bool:
            return True

    try:
        probe = ray.remote(num_cpus=0)(Probe).remote()
        ray.get(probe.answer.remote(), timeout=PROBE_TIMEOUT_S)
    except Exception as error:
        raise ClusterError(
            f"the cluster at {address} starts no actor for this driver ({first_line(error)}): if it runs without token "
            "authentication set RAY_AUTH_MODE=disabled, else look at `ray status`"
        ) from error
    ray.kill(probe)


def _nodes(entries: list[dict[str, Any]]) -> list[Node]:
    living = [entry.get("Resources", {}) for entry in entries if entry["Alive"]]
    return [Node(int(offered.get("CPU", 0)), int(offered.get("GPU", 0))) for offered in living]


def _check_address(address: str) -> None:
    """Ray tries an address at which nobody listens for minutes; a connection of our own says so at once."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in address or not port.isdigit():
        raise UsageError(f"address {address!r} is not understood: give HOST:PORT of a Ray head node, or auto on it")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"nothing answers at {address} ({error}): is Ray running there (`ray start --head`), and is that its port?"
        ) from None


def _use_token(address: str, *, insecure: bool) -> None:
    """A driver that joins a cluster sends its token only in token mode (Ray 2.60).

    Raises ClusterError if there is no token and the cluster is not on this machine: one that can be joined without is
    open to whoever reaches it.
    """
    if os.environ.get("RAY_AUTH_TOKEN") or token_file().is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    elif not insecure and address != "auto" and not is_loopback(address.rpartition(":")[0]):
        raise ClusterError(
            f"there is no Ray token for the cluster at {address}: copy the head node's ~/.ray/auth_token here, or give "
            "--insecure if the cluster really has none and everybody who reaches it may use it"
        )


def token_file() -> Path:
    """Where Ray keeps its token."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()


def _close_token_file() -> None:
    """Ray writes its token with the umask of the day; it is a password, so nobody else may read it."""
    with contextlib.suppress(OSError):
        token_file().chmod(0o600)
