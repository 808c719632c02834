"""Logs of drivers and workers, as the dashboard gives them: whole, cut anywhere, and of one trial among many."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest

from tuner import logs
from tuner.errors import ClusterError
from tuner.logs import Log, driver_log, show, worker_logs
from tuner.marks import mark_trial, marked_trial
from tuner.ray_http import Dashboard
from tuner.store.jobs import JobRecord

WORKER = b""":job_id:01
starting
trial 3, attempt 1 begins
:actor_name:tuner: test slot 0
of trial 3
trial 12, attempt 2 goes on after epoch 4
of trial 12, \xff
trial 3, attempt 2 begins
again trial 3"""


class FakeDashboard(Dashboard):
    """A cluster of two machines, of which one has left; worker 7 ran on the other."""

    def __init__(self, content: bytes = WORKER, streamed: int = 0) -> None:
        super().__init__("http://head:8265", None)
        self.content, self.streamed, self.asked = content, streamed, []

    def get(self, path: str, **query: str) -> bytes:
        self.asked.append((path, query))
        if path == "/nodes":
            nodes = [("gone", "one", "DEAD"), ("here", "two", "ALIVE"), ("here", "three", "ALIVE")]
            summary = [{"hostname": name, "raylet": {"nodeId": node, "state": state}} for name, node, state in nodes]
            return json.dumps({"data": {"summary": summary}}).encode()
        if path == "/api/v0/logs":
            files = {"worker_out": ["worker-a-01-7.out"], "worker_err": ["worker-a-01-7.err"]}
            known = query == {"node_id": "three", "glob": "worker-*-7.*"}
            return json.dumps({"data": {"result": files if known else {}}}).encode()
        if path.startswith("/api/jobs/"):
            return json.dumps({"driver_node_id": None if "pending" in path else "two"}).encode()
        assert (path, query["lines"]) == ("/api/v0/logs/file", "-1")
        return self.content

    def stream(self, path: str, **query: str) -> Iterator[bytes]:
        assert (path, query["lines"]) == ("/api/v0/logs/stream", "-1")
        for index in range(self.streamed):
            yield self.content[index : index + 1]


def written(trial: int | None) -> str:
    output = io.StringIO()
    Log(FakeDashboard(), {}, output, trial).finish()
    return output.getvalue()


def test_of_a_worker_s_log_only_the_parts_of_the_trial_are_shown() -> None:
    assert written(3) == "trial 3, attempt 1 begins\nof trial 3\ntrial 3, attempt 2 begins\nagain trial 3\n"
    assert written(12) == "trial 12, attempt 2 goes on after epoch 4\nof trial 12, \ufffd\n"
    assert written(1) == ""
    assert written(None).splitlines() == WORKER.decode(errors="replace").splitlines()


@pytest.mark.parametrize("streamed", [0, 1, 40, 100, len(WORKER)])
def test_what_was_followed_is_completed_at_the_end_without_a_line_lost_or_written_twice(streamed, monkeypatch) -> None:
    class Thread:
        def __init__(self, target, **_) -> None:
            self.start = target

    monkeypatch.setattr(logs.threading, "Thread", Thread)
    monkeypatch.setattr(logs.time, "sleep", lambda _seconds: None)
    output = io.StringIO()
    over = iter([False, False, True])
    show([Log(FakeDashboard(streamed=streamed), {}, output, 3)], lambda: next(over))
    assert output.getvalue() == written(3)


def test_a_worker_s_log_is_found_on_the_machine_where_it_ran() -> None:
    dashboard = FakeDashboard()
    found = worker_logs(dashboard, "here:7 (NVIDIA H100)", 3)
    assert [log._query for log in found] == [
        {"node_id": "three", "filename": f"worker-a-01-7.{end}", "lines": "-1"} for end in ("out", "err")
    ]


@pytest.mark.parametrize(
    ("worker", "said"),
    [
        ("gone:7 (CPU)", "trial 3 ran in process 7 of gone, which has left the cluster, and its logs with it"),
        ("here:8 (CPU)", "trial 3 ran in process 8 of here, which has no log of that process any more"),
        ("here:*", "is named 'here:\\*', which says no machine and process"),
    ],
)
def test_a_log_that_is_gone_is_said_plainly(worker, said) -> None:
    with pytest.raises(ClusterError, match=said):
        worker_logs(FakeDashboard(), worker, 3)


def test_a_job_that_waits_has_no_log_yet() -> None:
    with pytest.raises(ClusterError, match="the job pending has not started yet"):
        driver_log(FakeDashboard(), JobRecord("http://head:8265", "pending"))
    assert driver_log(FakeDashboard(), JobRecord("http://head:8265", "a-1"))._query == {
        "node_id": "two",
        "submission_id": "a-1",
        "lines": "-1",
    }


def test_a_mark_is_read_as_it_was_written_and_a_full_disk_fails_no_trial() -> None:
    log = io.StringIO()
    mark_trial(log, 7, 1, 0)
    mark_trial(log, 8, 2, 5)
    assert [marked_trial(line.encode()) for line in log.getvalue().splitlines()] == [7, 8]
    assert marked_trial(b"trial 7 failed") is None
    log.close()
    mark_trial(log, 9, 1, 0)
