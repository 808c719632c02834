"""An exported model as a service on Ray Serve: a private Ray on this machine, replicas that gather pictures in batches.

Needs the extra `serve`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner.bundle.answering import Limits, answer
from tuner.bundle.opening import open_bundle
from tuner.errors import ClusterError, UsageError, first_line
from tuner.spec import Resources
from tuner.submit import ray_cluster

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

BATCH = 64
# Longer than it takes to decode the pictures of one request, shorter than anybody notices.
_BATCH_WAIT_S = 0.005
# Beyond what replicas work on, so many requests wait; later ones get 503 at once instead of an answer after minutes.
_ONGOING, _QUEUED = 128, 512


class Server:
    """A replica: the model, and the pictures of all requests that are there at once."""

    def __init__(self, bundle: str, limits: Limits) -> None:
        from ray import serve

        self._classifier = open_bundle(Path(bundle))
        self._limits = limits
        self._predict = serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=_BATCH_WAIT_S)(self._run)

    async def __call__(self, request: Request) -> Response:
        """The answer to a request."""
        return await answer(request, self._classifier, self._predict, self._limits)

    async def _run(self, images: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        return [*await asyncio.to_thread(self._classifier.run, np.stack(images))]


@contextmanager
def serving(bundle: Path, *, host: str, port: int, replicas: int, insecure: bool = False) -> Iterator[str]:
    """Serve the model of `bundle` for as long as the block lasts; gives the URL.

    Raises UsageError if there is no such model, if `host` is beyond this machine and not `insecure`, or if the port is
    taken; ClusterError if Ray Serve does not start.
    """
    open_bundle(bundle)
    _refuse_open(host, insecure=insecure)
    _refuse_taken(host, port)
    with ray_cluster(None, Resources(gpus=0, workers=replicas)):
        from ray import serve

        # It tells of each of its steps; what goes wrong it raises.
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        try:
            serve.start(http_options={"host": host, "port": port}, logging_config={"enable_access_log": False})
            deployment: Any = serve.deployment(
                Server, num_replicas=replicas, max_ongoing_requests=_ONGOING, max_queued_requests=_QUEUED
            )
            serve.run(deployment.bind(str(bundle.absolute()), Limits()), name="tuner", route_prefix="/")
        except Exception as error:
            raise ClusterError(f"Ray Serve does not start: {first_line(error)}") from error
        yield f"http://{host}:{port}"


def _refuse_open(host: str, *, insecure: bool) -> None:
    try:
        local = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local and not insecure:
        raise UsageError(
            f"--host {host} would let everybody who reaches this machine ask the model, without a password: put a "
            "proxy that asks for one before 127.0.0.1, or allow it with --insecure"
        )


def _refuse_taken(host: str, port: int) -> None:
    """Ray Serve tells of it in another process."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise UsageError(f"cannot serve at {host}:{port} ({error.strerror or error}): give another --port") from error
