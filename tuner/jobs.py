"""A search as a Ray job: what travels to the cluster, how the job is submitted, and how it ended.

The Jobs API shows a job's entry point, metadata and runtime environment to whoever may ask, so nothing secret is in
them: the password of Redis comes from the cluster's own environment.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import platform
import re
import secrets
import shlex
import shutil
import signal
import socket
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tuner import __version__
from tuner.errors import ClusterError, StoreError, UsageError, first_line
from tuner.network import is_loopback, is_this_machine
from tuner.ray_http import Dashboard
from tuner.settings import JOB_VARIABLE, Settings
from tuner.space import Space
from tuner.store.jobs import JobRecord, read_job
from tuner.store.urls import host_of, strip_password

if TYPE_CHECKING:
    import redis

# Linux takes no longer string in an environment than 128 KiB, and this one travels within another.
_LARGEST_SPACE = 32_000
POLL_S = 1.0
_SILENCE_S = 60.0
_RAYS_OWN = re.compile(r"[-\d]{10} [:,\d]{12}\t")  # 2026-11-21 12:34:26,416<tab>INFO worker.py:1691 -- ...

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ThisJob:
    """What a driver that was submitted is told: the job that it is, and what files elsewhere hold.

    space: the search space, enqueue: the configurations to try first.
    """

    record: JobRecord
    space: Space | None
    enqueue: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> str:
        space = None if self.space is None else self.space.as_dict()
        return json.dumps({"record": asdict(self.record), "space": space, "enqueue": self.enqueue})

    @classmethod
    def from_json(cls, text: str) -> ThisJob:
        """Raises UsageError if `text` was not written by `to_json`."""
        try:
            content = json.loads(text)
            space = content["space"]
            return cls(
                JobRecord(**content["record"]),
                None if space is None else Space.from_dict(space),
                tuple(content["enqueue"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{JOB_VARIABLE} is set, but not by tuner ({first_line(error)}): unset it") from None


def this_job(settings: Settings, console: Console) -> ThisJob | None:
    """The job that this process is the driver of, if it was submitted; its log then begins with what runs where.

    Raises UsageError if the environment says something else of it.
    """
    if not settings.job:
        return None
    host, python = socket.gethostname(), platform.python_version()
    console.print(f"tuner {__version__} on {host}, Python {python}", markup=False, highlight=False, soft_wrap=True)
    return ThisJob.from_json(settings.job)


def url_for_cluster(url: str | None, address: str) -> str:
    """The Redis URL as the driver on the cluster gets it: without its password.

    Raises UsageError if machines of the cluster at `address` cannot reach it: a socket, or this machine's loopback.
    """
    way_out = (
        "name a Redis that this machine and the cluster reach by --redis redis://HOST:PORT or TUNER_REDIS, with its "
        "password in TUNER_REDIS_PASSWORD here and in the cluster's environment"
    )
    if url is None:
        raise UsageError(f"the private Redis of this user cannot be reached from the cluster at {address}: {way_out}")
    if url.startswith("unix:"):
        raise UsageError(f"a Redis at a Unix socket cannot be reached from the cluster at {address}: {way_out}")
    try:
        host, bare = host_of(url), strip_password(url)
        if is_loopback(host) and not is_this_machine(host_of(address)):
            raise UsageError(f"Redis at {host} is this machine's own for the cluster at {address}: {way_out}")
    except ValueError:
        raise StoreError("the Redis URL cannot be used: its host or port is malformed") from None
    return bare


def submit(
    dashboard: Dashboard,
    name: str,
    arguments: Sequence[str],
    *,
    space: Space | None,
    enqueue: tuple[dict[str, Any], ...] = (),
    sources: Mapping[str, bytes] | None = None,
    metadata: Mapping[str, str],
) -> JobRecord:
    """Submit `python -m tuner ARGUMENTS` as a job that is named after the study `name`; it starts in its own time.

    This very program travels with it, whatever the cluster has; its libraries must be there. `space`, `enqueue`: of
    files of this machine. `sources`: of the user's network, path -> content, which the job finds in its current folder.
    Raises UsageError if they are too large to travel, ClusterError if Ray does not take the job.
    """
    record = JobRecord(dashboard.address, f"{name}-{secrets.token_hex(3)}")
    this_job = ThisJob(record, space, enqueue).to_json()
    if len(this_job) > _LARGEST_SPACE:
        raise UsageError(
            f"the search space and what is enqueued have {len(this_job)} characters; at most {_LARGEST_SPACE} travel "
            "to a cluster"
        )
    # Ray would submit to these, whatever address it is given.
    for variable in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        os.environ.pop(variable, None)
    with warnings.catch_warnings(), _packed_program() as package, _packed(sources or {}) as folder:
        warnings.simplefilter("ignore", FutureWarning)
        from ray.job_submission import JobSubmissionClient

        if not _log.isEnabledFor(logging.INFO):
            for talkative in ("ray", "ray.dashboard.modules.dashboard_sdk"):
                logging.getLogger(talkative).setLevel(logging.WARNING)
        try:
            client = JobSubmissionClient(dashboard.address, headers=dict(dashboard.headers))
            client.submit_job(
                entrypoint=shlex.join(["python", "-m", "tuner", *arguments]),
                submission_id=record.submission_id,
                runtime_env={"py_modules": [str(package)], "env_vars": {JOB_VARIABLE: this_job}, **folder},
                metadata=dict(metadata),
            )
        except Exception as error:  # of requests, of Ray, and RuntimeError for what the server says
            raise ClusterError(f"the cluster at {dashboard.address} takes no job: {first_line(error)}") from error
    return record


@contextmanager
def _packed_program() -> Iterator[Path]:
    """A copy of this package as an installed one looks; a checkout keeps the search spaces elsewhere."""
    with tempfile.TemporaryDirectory(prefix="tuner-job-") as folder:
        package = Path(folder) / "tuner"
        for module, place in (("tuner", package), ("tuner.search_spaces", package / "search_spaces")):
            found = Path(str(importlib.import_module(module).__file__)).parent
            shutil.copytree(found, place, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"), dirs_exist_ok=True)
        yield package


@contextmanager
def _packed(sources: Mapping[str, bytes]) -> Iterator[dict[str, str]]:
    """What a runtime environment says for the job to start in a folder with these files; nothing without any."""
    if not sources:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="tuner-job-") as folder:
        for path, content in sources.items():
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        yield {"working_dir": folder}


@dataclass(frozen=True)
class JobEnd:
    """How a job ended. exit_code: of the driver; None if it never started or was killed. line: why, in one line."""

    exit_code: int | None
    line: str


def job_end(dashboard: Dashboard, record: JobRecord) -> JobEnd | None:
    """How the job ended; None while it waits or runs. Raises ClusterError if Ray does not answer or has none."""
    job = dashboard.get_json(f"/api/jobs/{record.submission_id}")
    if job.get("status") not in ("STOPPED", "SUCCEEDED", "FAILED"):
        return None
    log = job_log(dashboard, record)
    if job["status"] == "STOPPED":
        # Ray sends SIGTERM, and SIGKILL three seconds later.
        return JobEnd(128 + signal.SIGTERM, "its job was stopped, as by `ray job stop`")
    return JobEnd(job.get("driver_exit_code"), _last_line(log) or first_line(ClusterError(job.get("message"))))


def wait_until_it_runs(dashboard: Dashboard, client: redis.Redis, name: str, record: JobRecord) -> None:
    """Wait until the job is the driver of the study `name`: until then it may fail.

    Raises ClusterError with its last line if it does, or if Ray is silent for a minute; StoreError if Redis fails.
    """
    answered_s = time.monotonic()
    while read_job(client, name) != record:
        try:
            end = job_end(dashboard, record)
            answered_s = time.monotonic()
        except ClusterError:
            # A head that is busy or replaced, while the job may be about to start.
            if time.monotonic() - answered_s > _SILENCE_S:
                raise
            end = None
        if end is not None and read_job(client, name) != record:
            raise ClusterError(f"on the cluster: {end.line}")
        time.sleep(POLL_S)


def wait_until_it_ends(dashboard: Dashboard, record: JobRecord) -> JobEnd | None:
    """How the job of a driver that has given back its lease ended; None if it still runs after a minute.

    Raises ClusterError if Ray does not answer.
    """
    deadline_s = time.monotonic() + _SILENCE_S
    while (end := job_end(dashboard, record)) is None and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
    return end


def job_log(dashboard: Dashboard, record: JobRecord) -> str:
    """All that the driver has printed so far. Raises ClusterError as `job_end` does."""
    return str(dashboard.get_json(f"/api/jobs/{record.submission_id}/logs").get("logs") or "")


def announced(log: str) -> list[str]:
    """What a driver says in its `log` before it starts: from its version to its study, without what Ray says."""
    lines = [line for line in log.splitlines() if not _RAYS_OWN.match(line)]
    first = next((index for index, line in enumerate(lines) if line.startswith("tuner ")), len(lines))
    last = next((index for index, line in enumerate(lines) if line.startswith("study ")), len(lines))
    return lines[first : last + 1]


def stopped_why(log: str) -> str:
    """Why the driver stopped, as it concluded its `log`; empty if it did not say."""
    found = re.findall(r"^stopped \((.*)\); nothing is lost", log, flags=re.MULTILINE)
    return found[-1] if found else ""


def _last_line(log: str) -> str:
    """Why a driver failed, as far as its log says so."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    # What Ray says before the driver starts is no word of the driver's.
    lines = lines[next((index for index, line in enumerate(lines) if line.startswith("Running entrypoint")), -1) + 1 :]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    line = (errors or lines or [""])[-1][:500]
    if missing := re.search(r"No module named '([\w.]+)'", line):
        return (
            f"the Python of the head node lacks {missing[1]!r}: its image must have all libraries of tuner "
            "(`pip install .` installs them)"
        )
    if "python: not found" in line or "python: command not found" in line:
        return (
            "the head node has no `python` on its PATH: start Ray there with the bin folder of its environment in PATH"
        )
    return line
