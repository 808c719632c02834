"""Searches that are submitted over HTTP to a cluster of their own, by a client that shares no folder with it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

import tuner
from tests.program import Program
from tuner.store import server
from tuner.store.jobs import read_job

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

PACKAGE = Path(tuner.__file__).parent
PASSWORD = "xcanaryx"
TOKEN = "token-of-this-test-" * 3
# Not one of those that come with the program: its content has to travel.
SPACE = '[space]\nlr = { type = "float", low = 0.01, high = 0.1, log = true }\n[constants]\nwidth = 16\n'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(command, *, text="", **options):
    process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True, **options)
    try:
        process.stdin.write(text)
        process.stdin.close()
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture(scope="module")
def folder():
    path = Path(tempfile.mkdtemp(prefix="tuner-jobs-"))  # Ray's sockets need a short path
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def store(folder):
    """A Redis with a password, reached by TCP: (URL without the password, client)."""
    if server.find_binary() is None and not os.environ.get("CI"):
        pytest.skip("no redis-server on this machine: `apt-get install redis-server`")
    (folder / "redis").mkdir()
    port = free_port()
    settings = f"port {port}\nbind 127.0.0.1\ndir {folder / 'redis'}\nappendonly yes\nmaxmemory-policy noeviction\n"
    # By standard input, so that the password is in no command line.
    with (
        started([server.find_binary(), "-"], text=f"{settings}requirepass {PASSWORD}\n", stdout=subprocess.DEVNULL),
        redis.Redis(port=port, password=PASSWORD, decode_responses=True) as client,
    ):
        deadline_s = time.monotonic() + 10
        while True:
            try:
                client.ping()
                break
            except redis.RedisError:
                assert time.monotonic() < deadline_s
                time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}", client


@pytest.fixture(scope="module")
def address(folder):
    """Of the dashboard of a cluster with token authentication, whose environment has the password of Redis."""
    there = folder / "cluster"
    there.mkdir()
    (there / "password").write_text(f"{PASSWORD}\n")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TUNER_", "RAY_"))}
    environment = {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "TUNER_HOME": str(there / "home"),
        "TUNER_REDIS_PASSWORD_FILE": str(there / "password"),
    }
    port, log = free_port(), there / "ray.log"
    command = ["ray", "start", "--head", "--block", "--num-cpus=2", f"--port={free_port()}", f"--dashboard-port={port}"]
    command += [f"--dashboard-agent-listen-port={free_port()}", "--min-worker-port=0", "--max-worker-port=0"]
    command += [f"--temp-dir={there / 'ray'}"]
    with log.open("w") as output, started(command, env=environment, cwd=there, stdout=output, stderr=output) as process:
        deadline_s = time.monotonic() + 60
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def client(folder, store, address):
    """The program on a laptop: a version that the cluster does not have, and nothing else."""
    home = folder / "client"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, home / "code" / "tuner", ignore=ignored)
    shutil.copytree(PACKAGE.parent / "search_spaces", home / "code" / "tuner" / "search_spaces", ignore=ignored)
    (home / "code" / "tuner" / "__init__.py").write_text('__version__ = "9.9.9"\n')
    (home / "my space.toml").write_text(SPACE)
    (home / "given.toml").write_text("[[trial]]\nlr = 0.025\n")
    (home / "bad.toml").write_text(SPACE.replace("0.01", "-1"))
    program = Program(home)
    program.environment |= {
        "PYTHONPATH": str(home / "code"),
        "TUNER_REDIS": store[0],
        "TUNER_REDIS_PASSWORD": PASSWORD,
        "RAY_ADDRESS": address,
        "RAY_AUTH_TOKEN": TOKEN,
    }
    return program


def ask(address: str, path: str) -> str:
    request = urllib.request.Request(f"{address}{path}", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


def test_a_submitted_search_is_seen_as_a_local_one_and_runs_the_program_of_its_submitter(
    client, store, address, folder
):
    options = ["--gpus", "0", "--workers", "1", "--trials", "2", "--max-epochs", "2", "--name", "first", "--space"]
    head_start = ["--enqueue", "given.toml", "--set", "dropout=0.1,0.2", "--set", "depth=2"]
    lines = client("search", "digits", *options, "my space.toml", *head_start).splitlines()
    job = read_job(store[1], "first")
    assert lines[0] == f"job {job.submission_id} at {address}: tuner 9.9.9 travels with it"
    assert lines[1].startswith("tuner 9.9.9 on ")
    assert lines[2].startswith("data set digits: 10 classes")
    assert lines[3].startswith("study first: space my space.toml, 2 trials of up to 2 epochs, ")
    assert [line for line in lines if line.startswith("2/2 trials done, best ")]
    assert [line.split(":")[0] for line in lines[-3:-1]] == ["best", "study first"]
    assert lines[-1].startswith("export the best model with `tuner export-best first` on a machine that sees ")

    shown = ask(address, "/api/jobs/")
    (details,) = json.loads(shown)
    assert (details["submission_id"], details["status"]) == (job.submission_id, "SUCCEEDED")
    assert job.submission_id.startswith("first-")
    assert details["metadata"] == details["metadata"] | {"study": "first", "dataset": "digits", "trials": "2"}
    assert details["metadata"]["space"] == "my space.toml"

    log = client("logs")
    assert "trial 0 starts (enqueued): lr=0.025 dropout=0." in log
    assert client("logs", "first", "--follow") == log
    trials = json.loads(client("trials", "--json"))
    assert client("logs", "--trial", str(trials[1]["number"])).splitlines()[0] == "trial 1, attempt 1 begins"
    assert "has no trial 2; it has 2" in client("logs", "--trial", "2", code=2)

    for where in (shown, log, "\n".join(lines)):
        assert PASSWORD not in where
        assert TOKEN not in where
    holders = [path for path in folder.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert holders == [folder / "cluster" / "password"]
    assert sorted(path.name for path in client.home.iterdir()) == ["bad.toml", "code", "given.toml", "my space.toml"]


def test_a_search_is_left_come_back_to_killed_resumed_and_stopped_from_afar(client, store, address, monkeypatch):
    monkeypatch.setitem(client.environment, "RAY_ADDRESS", "http://127.0.0.1:1")  # --address goes before it
    options = ["--gpus", "0", "--workers", "1", "--trials", "4", "--max-epochs", "2000", "--name", "second", "--detach"]
    lines = client("search", "digits", *options, "--address", address).splitlines()
    assert lines[-1].startswith("study second runs: `tuner attach second` shows it")
    refused = client("resume", "second", "--address", address, code=1)
    assert "study 'second' is run by process" in refused

    attached = client.start("attach", "second")
    time.sleep(3)
    attached.send_signal(signal.SIGINT)
    assert attached.communicate(timeout=20)[0].splitlines()[-1].startswith("detached; study second goes on: ")
    assert attached.returncode == 130

    os.kill(json.loads(client("status", "second", "--json"))["driver"]["pid"], signal.SIGKILL)
    monkeypatch.setitem(client.environment, "RAY_ADDRESS", address)
    assert client("attach", "second", code=1) == (
        "error: the driver on the cluster was killed (exit code 137); nothing is lost, go on with "
        f"`tuner resume second --address {address}`"
    )

    resumed = client.start("resume", "second", "--trials", "5")
    client.wait_until(lambda: json.loads(client("status", "second", "--json"))["state"] == "running", resumed)
    assert client("stop", "second").startswith("asked study second to stop")
    lines = resumed.communicate(timeout=60)[0].splitlines()
    assert (
        f"stopped (asked by `tuner stop`); nothing is lost, go on with `tuner resume second --address {address}`"
        in lines
    )
    assert resumed.returncode == 0
    first, second = (job for job in json.loads(ask(address, "/api/jobs/")) if job["metadata"]["study"] == "second")
    assert {first["status"], second["status"]} == {"FAILED", "SUCCEEDED"}
    client("delete", "second", "--yes")
    assert read_job(store[1], "second") is None


def test_a_network_of_ones_own_travels_with_its_modules_to_the_driver_and_the_workers(client):
    (client.home / "mine.py").write_text(
        "from parts import flat\ndef build(params, shape, classes): return flat(shape, classes)\n"
    )
    (client.home / "parts.py").write_text(
        "from torch import nn\n"
        "def flat(shape, classes): return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] ** 2, classes))\n"
    )
    options = ["--gpus", "0", "--workers", "1", "--trials", "1", "--max-epochs", "2", "--name", "own"]
    space = ["--space", "my space.toml", "--set", "mine=3"]
    lines = client("search", "digits", *options, "--model", "mine:build", *space).splitlines()
    assert "network mine:build: 650 parameters in the first configuration; the study keeps mine.py, parts.py" in lines
    assert "study own: 1 complete" in lines


@pytest.mark.parametrize(
    ("command", "variables", "code", "said"),
    [
        ("", {"RAY_AUTH_TOKEN": "another"}, 1, "refuses the token in RAY_AUTH_TOKEN: it must be the head node's"),
        (
            "",
            {"RAY_AUTH_TOKEN": "", "RAY_AUTH_TOKEN_PATH": "/nowhere"},
            1,
            "asks for a token and this machine has none",
        ),
        ("", {"TUNER_REDIS": ""}, 2, "the private Redis of this user cannot be reached from the cluster at http"),
        ("", {"TUNER_REDIS": "unix:///run/redis"}, 2, "a Redis at a Unix socket cannot be reached from the cluster"),
        ("--address http://192.0.2.77:8265", {}, 2, "is this machine's own for the cluster at http://192.0.2.77"),
        ("", {"TUNER_REDIS_PASSWORD": "another"}, 1, "refuses the user name or password"),
        ("--address http://127.0.0.1:1", {}, 1, "no dashboard answers at http://127.0.0.1:1"),
        ("--space bad.toml", {}, 2, "bad.toml: lr: low = -1"),
        ("--name first", {}, 1, "there is a study 'first' already"),
        ("--storage here", {}, 2, "--storage 'here' is a folder of the cluster there"),
    ],
)
def test_what_cannot_run_is_refused_in_one_line_before_it_is_submitted(
    client, address, monkeypatch, command, variables, code, said
):
    before = len(json.loads(ask(address, "/api/jobs/")))
    for name, value in variables.items():
        monkeypatch.setitem(client.environment, name, value)
    line = client("search", "digits", *command.split(), code=code)
    assert line.startswith("error: ")
    assert said in line
    assert len(json.loads(ask(address, "/api/jobs/"))) == before


def test_what_the_job_finds_out_is_its_one_line(client):
    line = client("search", "/nowhere", "--gpus", "0", code=1)
    assert line.startswith("error: on the cluster: no data set '/nowhere': give a folder")
