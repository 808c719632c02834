"""Ray: start a private local one or join a cluster, and count what trials can run at once."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterator, Mapping

from tuner.errors import ClusterError, UsageError, first_line
from tuner.nodes import STRICT_WAIT_S, can_grow, living_nodes, wait_for_gpus
from tuner.packing import parse_trials_per_gpu
from tuner.ray_token import token_file, use_token
from tuner.slots import CLUSTER, THIS_MACHINE, Slots, count_slots
from tuner.spec import Resources

_log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
PROBE_TIMEOUT_S = 60.0


def default_workers() -> int:
    """Trials at once on CPUs unless the user says otherwise: two, or one on a single core."""
    return min(2, os.cpu_count() or 1)


def refuse_unusable(address: str | None, resources: Resources, *, strict_gpus: bool) -> None:
    """What can be refused before anything is read or started. Raises UsageError for numbers out of range and for what
    is no address, ClusterError if nobody listens there."""
    parse_trials_per_gpu(resources.trials_per_gpu)
    if resources.workers < 1:
        raise UsageError(f"workers = {resources.workers} is too small: it must be at least 1")
    if resources.gpus is not None and resources.gpus < 0:
        raise UsageError(f"gpus = {resources.gpus} is negative: give 0 for CPUs, or how many GPUs to use at once")
    if strict_gpus and not resources.gpus:
        raise UsageError("--strict-gpus needs the number of GPUs that must be there: give --gpus N with N above 0")
    if address is not None:
        _check_address(address)


@contextlib.contextmanager
def ray_cluster(
    address: str | None,
    resources: Resources,
    *,
    insecure: bool = False,
    strict_gpus: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> Iterator[tuple[Slots, str]]:
    """A running Ray for the `with` block: a private local one without an address, else the cluster at `address`.

    Gives the slots and the URL of the dashboard, which is empty if there is none; its page of jobs shows `metadata`.
    A local Ray is ended with the block; a cluster is only left. A Ray that this process is connected to already (only
    a program that calls `ray.init` itself can be) is used as it is and stays connected. Raises ClusterError when it
    cannot be reached or has no GPU of those asked for (with `strict_gpus` if it has fewer, after a minute), UsageError
    for numbers out of range.
    """
    refuse_unusable(address, resources, strict_gpus=strict_gpus)
    if _is_connected(address):
        yield _slots(resources, CLUSTER, grows=can_grow(), strict_gpus=strict_gpus, timeout_s=STRICT_WAIT_S), ""
        return
    if address is not None:
        use_token(address, insecure=insecure)
    # What later Rays do by default, and this one warns of: not to touch CUDA_VISIBLE_DEVICES of workers without a GPU.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import ray

        dashboard_url = _connect(address, resources.workers, metadata or {})
    try:
        if address is None:
            # Nothing joins a private Ray: no need to wait.
            slots = _slots(resources, THIS_MACHINE, grows=False, strict_gpus=strict_gpus, timeout_s=0.0)
        else:
            slots = _slots(resources, CLUSTER, grows=can_grow(), strict_gpus=strict_gpus, timeout_s=STRICT_WAIT_S)
        yield slots, dashboard_url
    finally:
        ray.shutdown()


def _slots(resources: Resources, where: str, *, grows: bool, strict_gpus: bool, timeout_s: float) -> Slots:
    if strict_gpus and resources.gpus:
        wait_for_gpus(resources.gpus, where, ask=grows, timeout_s=timeout_s)
    return count_slots(living_nodes(), resources, where, can_grow=grows)


def _is_connected(address: str | None) -> bool:
    """Whether this process is connected to a Ray. Raises UsageError if that is not the one meant, or cannot be used."""
    if "ray" not in sys.modules:  # it takes long to import, and RAY_AUTH_MODE is to be set before
        return False
    import ray
    from ray.util.client import ray as client

    if client.is_connected():
        raise UsageError(
            "this process is connected to Ray through ray://, which no search runs over: call ray.shutdown(), and run "
            "the search on a machine of the cluster"
        )
    if ray.is_initialized() and address is not None:
        raise UsageError(
            f"this process is connected to a Ray already: leave out address = {address!r} to use that one, or call "
            "ray.shutdown() first"
        )
    return bool(ray.is_initialized())


def _connect(address: str | None, workers: int, metadata: Mapping[str, str]) -> str:
    import ray
    from ray.job_config import JobConfig

    # Where this driver is the entry point of a submitted job, Ray adds that job's own metadata.
    job_config = JobConfig(metadata=dict(metadata))
    cores = os.cpu_count() or 1
    # Whatever matters of what Ray says becomes an error of ours; it would tell of each lost worker by a traceback.
    level = logging.ERROR if _log.isEnabledFor(logging.INFO) else logging.CRITICAL
    try:
        if address is None:
            context = ray.init(
                address="local",  # without it Ray joins any cluster that happens to run on this machine
                num_cpus=max(cores, workers),
                include_dashboard=True,
                job_config=job_config,
                log_to_driver=False,
                logging_level=level,
            )
            _close_token_file()
        else:
            context = ray.init(
                address=address,
                job_config=job_config,
                log_to_driver=False,
                logging_level=level,
            )
            _check_that_actors_start(address)
    except (ClusterError, KeyboardInterrupt):
        ray.shutdown()
        raise
    except Exception as error:
        if address is None:
            raise ClusterError(f"a local Ray could not be started: {first_line(error)}") from error
        raise ClusterError(
            f"no Ray cluster could be joined at {address} ({first_line(error)}): check the address, or leave out "
            "--address to use this machine alone"
        ) from error
    url = getattr(context, "dashboard_url", None)
    return f"http://{url}" if url else ""


def _check_that_actors_start(address: str) -> None:
    """A cluster can be joined though its machines cannot connect back to this one: trials would then never start."""
    import ray

    class Probe:
        def answer(self) -> bool:
            return True

    try:
        probe = ray.remote(num_cpus=0)(Probe).remote()
        ray.get(probe.answer.remote(), timeout=PROBE_TIMEOUT_S)
    except Exception as error:
        raise ClusterError(
            f"the cluster at {address} starts no actor for this driver ({first_line(error)}): its machines must reach "
            "this one (firewall), and some must live, see `ray status`"
        ) from error
    ray.kill(probe)


def _check_address(address: str) -> None:
    """Ray tries an address at which nobody listens for minutes; a connection of our own says so at once."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in address or not port.isdigit():
        raise UsageError(
            f"address {address!r} is not understood: give HOST:PORT of a Ray head node, auto on it, or "
            "http://HOST:8265 of its dashboard"
        )
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"nothing answers at {address} ({error}): is Ray running there (`ray start --head`), and is that its port?"
        ) from None


def _close_token_file() -> None:
    """Ray writes its token with the umask of the day; it is a password, so nobody else may read it."""
    with contextlib.suppress(OSError):
        token_file().chmod(0o600)
