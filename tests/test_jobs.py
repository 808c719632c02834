"""What travels to a cluster, what does not, and what is understood of what comes back."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest
import ray.job_submission

from tests.factories import new_space
from tuner import jobs
from tuner.errors import ClusterError, StoreError, UsageError
from tuner.jobs import JobEnd, ThisJob, job_end, submit, url_for_cluster
from tuner.ray_http import Dashboard
from tuner.settings import JOB_VARIABLE
from tuner.space import Space
from tuner.store.jobs import JobRecord, write_job

JOB = JobRecord("http://head:8265", "digits-1")


@pytest.mark.parametrize(
    ("url", "there"),
    [
        ("redis://:secret@10.0.0.1:6379/1", "redis://10.0.0.1:6379/1"),
        ("redis://user:secret@redis?password=secret", "redis://user@redis"),
        ("redis://localhost", "redis://localhost"),  # the head is this machine
    ],
)
def test_the_url_for_the_cluster_has_no_password(url: str, there: str) -> None:
    assert url_for_cluster(url, "http://127.0.0.1:8265") == there


@pytest.mark.parametrize("url", [None, "unix:///run/redis", "redis://127.0.0.1", "redis://:secret@localhost:6379"])
def test_a_redis_that_the_cluster_cannot_reach_is_refused_with_the_way_out(url: str | None) -> None:
    with pytest.raises(UsageError, match="--redis redis://HOST:PORT or TUNER_REDIS") as refusal:
        url_for_cluster(url, "http://192.0.2.77:8265")
    assert "secret" not in str(refusal.value)


def test_a_malformed_url_is_refused_without_showing_it() -> None:
    with pytest.raises(StoreError, match="malformed") as refusal:
        url_for_cluster("redis://:secret@[::1", "http://head:8265")
    assert "secret" not in str(refusal.value)


class FakeClient:
    """What Ray's client is given; the files of the package, which is gone afterwards."""

    submitted: dict[str, Any]

    def __init__(self, address: str, headers: dict[str, str]) -> None:
        assert (address, headers) == ("http://head:8265", {"Authorization": "Bearer token"})
        assert "RAY_ADDRESS" not in os.environ  # Ray would submit there

    def submit_job(self, **job: Any) -> None:
        package = Path(job["runtime_env"]["py_modules"][0])
        files = {
            path.relative_to(package).as_posix(): path.read_bytes() for path in package.rglob("*") if path.is_file()
        }
        FakeClient.submitted = {**job, "files": files, "name": package.name}


def test_a_job_is_this_very_program_with_nothing_that_a_shell_would_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray.job_submission, "JobSubmissionClient", FakeClient)
    monkeypatch.setenv("RAY_ADDRESS", "http://elsewhere:8265")
    arguments = ["search", "/data/$(touch x); 'y'", "--name", "a"]
    dashboard = Dashboard("http://head:8265", "token")
    enqueue = ({"lr": 0.1},)
    record = submit(dashboard, "a", arguments, space=new_space(), enqueue=enqueue, metadata={"study": "a"})
    job = FakeClient.submitted
    assert record == JobRecord("http://head:8265", job["submission_id"])
    assert record.submission_id.startswith("a-")
    assert shlex.split(job["entrypoint"]) == ["python", "-m", "tuner", *arguments]
    assert "'/data/$(touch x); '\"'\"'y'\"'\"''" in job["entrypoint"]
    assert job["metadata"] == {"study": "a"}
    assert list(job["runtime_env"]["env_vars"]) == [JOB_VARIABLE]
    assert ThisJob.from_json(job["runtime_env"]["env_vars"][JOB_VARIABLE]) == ThisJob(record, new_space(), enqueue)
    assert job["name"] == "tuner"
    assert {"__main__.py", "store/append.lua", "search_spaces/digits.toml", "training/loop.py"} <= set(job["files"])
    assert not [name for name in job["files"] if "__pycache__" in name]
    again = submit(dashboard, "a", arguments, space=None, metadata={})
    assert again != record


def test_what_ray_does_not_take_and_what_is_too_large_are_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("Request failed with status code 500: no\nTraceback")

    monkeypatch.setattr(ray.job_submission, "JobSubmissionClient", refuse)
    with pytest.raises(ClusterError, match=r"head:8265 takes no job: Request failed with status code 500: no$"):
        submit(Dashboard("http://head:8265", None), "a", ["search"], space=None, metadata={})
    choices = list(range(10_000))
    large = Space("large.toml", {"width": {"type": "choice", "choices": choices}})
    with pytest.raises(UsageError, match="at most 32000 travel to a cluster"):
        submit(Dashboard("http://head:8265", None), "a", ["search"], space=large, metadata={})


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"record": {"a": 1}, "space": null}', '{"record": 1}'])
def test_a_driver_is_no_job_of_somebody_else(text: str) -> None:
    with pytest.raises(UsageError, match="TUNER_JOB is set, but not by tuner"):
        ThisJob.from_json(text)


class FakeDashboard(Dashboard):
    def __init__(self, status: str, log: str, **details: Any) -> None:
        super().__init__(JOB.address, None)
        self.answers = {"/api/jobs/digits-1": {"status": status, **details}, "/api/jobs/digits-1/logs": {"logs": log}}

    def get(self, path: str, **query: str) -> bytes:
        return json.dumps(self.answers[path]).encode()


LOG = """2026-11-21 12:29:13,208\tINFO job_manager.py:581 -- Runtime env is setting up.
Running entrypoint for job digits-1: python -m tuner search digits
tuner 0.1.0 on head, Python 3.11.7
2026-11-21 12:34:26,416\tINFO worker.py:1691 -- Using address 10.0.0.1:6379
data set digits: 10 classes
the cluster has 2 GPUs of the 8 asked for
study digits: space digits
Ray dashboard: http://head:8265
trial 0 starts: lr=0.1
"""


@pytest.mark.parametrize(
    ("status", "code", "end_of_log", "expected"),
    [
        ("RUNNING", None, "", None),
        ("PENDING", None, "", None),
        ("SUCCEEDED", 0, "export the best model", JobEnd(0, "export the best model")),
        ("FAILED", 69, "error: Redis is away\n(raylet) noise\n", JobEnd(69, "Redis is away")),
        ("FAILED", 137, "Killed\n", JobEnd(137, "Killed")),
        ("STOPPED", None, "", JobEnd(143, "its job was stopped, as by `ray job stop`")),
    ],
)
def test_the_end_of_a_job_is_its_exit_code_and_its_last_word(status, code, end_of_log, expected) -> None:
    assert job_end(FakeDashboard(status, LOG + end_of_log, driver_exit_code=code), JOB) == expected


@pytest.mark.parametrize(
    ("end_of_log", "said"),
    [
        ("Traceback ...\nModuleNotFoundError: No module named 'optuna'\n", "the head node lacks 'optuna': its image"),
        ("error: ModuleNotFoundError: No module named 'torch.x'; this is a mistake", "the head node lacks 'torch.x'"),
        ("/bin/sh: 1: python: not found", "the head node has no `python` on its PATH"),
    ],
)
def test_what_an_image_lacks_is_said_plainly(end_of_log, said) -> None:
    end = job_end(FakeDashboard("FAILED", LOG + end_of_log, driver_exit_code=1), JOB)
    assert end is not None
    assert said in end.line


def test_a_job_that_never_started_says_what_ray_says() -> None:
    dashboard = FakeDashboard(
        "FAILED", "", message="runtime_env setup failed: no space\nTraceback", driver_exit_code=None
    )
    assert job_end(dashboard, JOB) == JobEnd(None, "runtime_env setup failed: no space")


def test_a_log_tells_what_was_announced_and_why_the_driver_stopped() -> None:
    assert jobs.announced(LOG) == [
        "tuner 0.1.0 on head, Python 3.11.7",
        "data set digits: 10 classes",
        "the cluster has 2 GPUs of the 8 asked for",
        "study digits: space digits",
    ]
    assert jobs.announced("") == []
    assert jobs.stopped_why(f"{LOG}stopped (asked by `tuner stop`); nothing is lost, go on") == "asked by `tuner stop`"
    assert jobs.stopped_why(LOG) == ""


def test_a_job_is_waited_for_until_it_says_that_it_runs_or_fails(redis_client, monkeypatch) -> None:
    clock = [0.0]
    told: list[object] = []

    def answer(_dashboard: object, _record: object) -> JobEnd | None:
        what = told.pop(0)
        if isinstance(what, Exception):
            raise what
        return what

    monkeypatch.setattr(jobs, "job_end", answer)
    monkeypatch.setattr(jobs.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(jobs.time, "sleep", lambda _seconds: clock.append(clock.pop() + 25))
    dashboard = FakeDashboard("RUNNING", "")

    def start(_dashboard: object, record: JobRecord) -> JobEnd | None:
        write_job(redis_client, "digits", record)
        return None

    write_job(redis_client, "digits", JobRecord(JOB.address, "digits-0"))  # of an earlier job
    told += [None, ClusterError("busy"), ClusterError("busy"), JobEnd(1, "no room")]
    with pytest.raises(ClusterError, match=r"^on the cluster: no room$"):
        jobs.wait_until_it_runs(dashboard, redis_client, "digits", JOB)
    told += [ClusterError("away")] * 9
    with pytest.raises(ClusterError, match=r"^away$"):
        jobs.wait_until_it_runs(dashboard, redis_client, "digits", JOB)
    assert len(told) == 5
    monkeypatch.setattr(jobs, "job_end", start)
    jobs.wait_until_it_runs(dashboard, redis_client, "digits", JOB)
