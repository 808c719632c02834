"""What drivers and workers have printed, fetched through Ray's dashboard from the machines where they ran."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from tuner.errors import ClusterError
from tuner.marks import marked_trial
from tuner.ray_http import Dashboard
from tuner.store.jobs import JobRecord

POLL_S = 2.0

# What Ray 2.60 writes into a worker's log for itself.
_RAYS_OWN = re.compile(rb":(actor_name|job_id|task_name):")


class Log:
    """One file of logs on a machine of the cluster, written to `output` line by line.

    query: names the file to Ray. trial: only the lines of this trial; None for all.
    """

    def __init__(self, dashboard: Dashboard, query: dict[str, str], output: TextIO, trial: int | None = None) -> None:
        self._dashboard = dashboard
        self._query = {**query, "lines": "-1"}
        self._output = output
        self._trial = trial
        self._shown = trial is None
        self._seen = 0
        self._rest = b""
        self._lock = threading.Lock()
        self._finished = False

    def follow(self) -> None:
        """Begin to write what is there and what comes, from a thread of its own, until `finish`."""
        threading.Thread(target=self._stream, name="tuner-log", daemon=True).start()

    def finish(self) -> None:
        """Write what is not written yet, up to the end. Raises ClusterError if the file cannot be read."""
        with self._lock:
            self._finished = True
            self._take(self._dashboard.get("/api/v0/logs/file", **self._query)[self._seen :])
            if self._rest:
                self._take(b"\n")

    def _stream(self) -> None:
        try:
            for block in self._dashboard.stream("/api/v0/logs/stream", **self._query, interval="0.5"):
                with self._lock:
                    if self._finished:
                        return
                    self._take(block)
        except ClusterError:
            pass  # who waits for the end asks the same dashboard, and says so

    def _take(self, block: bytes) -> None:
        self._seen += len(block)
        *lines, self._rest = (self._rest + block).split(b"\n")
        for line in lines:
            if self._trial is not None and (begins := marked_trial(line)) is not None:
                self._shown = begins == self._trial
                if self._output is sys.stderr:
                    continue  # standard output has it too
            if self._shown and not (self._trial is not None and _RAYS_OWN.match(line)):
                self._output.write(line.decode(errors="replace") + "\n")
        self._output.flush()


def driver_log(dashboard: Dashboard, job: JobRecord) -> Log:
    """The log of a driver that was submitted as `job`. Raises ClusterError if the cluster has it no more."""
    node = dashboard.get_json(f"/api/jobs/{job.submission_id}").get("driver_node_id")
    if node is None:
        raise ClusterError(f"the job {job.submission_id} has not started yet, so it has no log")
    return Log(dashboard, {"node_id": node, "submission_id": job.submission_id}, sys.stdout)


def worker_logs(dashboard: Dashboard, worker: str, trial: int) -> list[Log]:
    """What `worker` ("host:pid (device)") has printed while it trained `trial`, on its standard output and error.

    Raises ClusterError if its machine has left the cluster, or has no such log.
    """
    found = re.match(r"(?P<host>[^\s/]+):(?P<pid>\d+)(?: |$)", worker)
    if found is None:
        raise ClusterError(f"the worker of trial {trial} is named {worker!r}, which says no machine and process")
    nodes = [
        node["raylet"]["nodeId"]
        for node in dashboard.get_json("/nodes", view="summary")["data"]["summary"]
        if node.get("hostname") == found["host"] and node["raylet"].get("state") == "ALIVE"
    ]
    for node in nodes:
        listed = dashboard.get_json("/api/v0/logs", node_id=node, glob=f"worker-*-{found['pid']}.*")
        result = listed.get("data", {}).get("result", {})
        files = [(file, sys.stdout) for file in result.get("worker_out", [])]
        files += [(file, sys.stderr) for file in result.get("worker_err", [])]
        if files:
            return [Log(dashboard, {"node_id": node, "filename": file}, output, trial) for file, output in files]
    why = "has left the cluster, and its logs with it" if not nodes else "has no log of that process any more"
    raise ClusterError(f"trial {trial} ran in process {found['pid']} of {found['host']}, which {why}")


def show(logs: Sequence[Log], is_over: Callable[[], bool] | None) -> None:
    """Write the `logs` as they are, or follow them until `is_over`, which is asked every two seconds.

    Raises ClusterError if Ray does not answer, and what `is_over` raises.
    """
    if is_over is not None:
        for log in logs:
            log.follow()
        while not is_over():
            time.sleep(POLL_S)
    for log in logs:
        log.finish()
