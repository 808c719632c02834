"""A password stays between its user and Redis."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from tests.program import Program
from tuner import cli
from tuner.cli.options import open_store, without_password
from tuner.errors import StoreError, UsageError
from tuner.store import embedded

CANARY = "xcanaryx"
DEEP = '[space]\nlr = { type = "float", low = 0.01, high = 0.1 }\n[constants]\ndepth = 6\npadding = "valid"\n'


@pytest.fixture(scope="module")
def url(redis_home: Path) -> Iterator[str]:
    """A Redis that asks for the canary. `redis_home` skips where there is no Redis."""
    home = Path(tempfile.mkdtemp(prefix="tuner-secret-"))
    try:
        path = embedded.ensure_running(home).removeprefix("unix://")
        with redis.Redis(unix_socket_path=path) as administrator:
            administrator.config_set("requirepass", CANARY)
        yield f"unix://:{CANARY}@{path}"
    finally:
        embedded.stop(home)
        shutil.rmtree(home)


@pytest.fixture
def program(url: str, tmp_path: Path) -> Iterator[Program]:
    """The program with the Redis of the canary in its environment, all its files below one folder."""
    home = Path(tempfile.mkdtemp(prefix="tuner-home-"))  # Ray's sockets need a short path
    program = Program(home)
    program.environment |= {"TUNER_REDIS": url, "RAY_TMPDIR": str(home), "TMPDIR": str(home)}
    (home / "deep.toml").write_text(DEEP)
    yield program
    shutil.rmtree(home)


def check_files(home: Path) -> None:
    looked_at = [path for path in home.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in looked_at if CANARY.encode() in path.read_bytes()] == []


@pytest.mark.integration
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("list", "there is no study yet"),
        ("status", "there is no study yet"),
        ("trials nothing --json", "there is no study 'nothing'"),
        ("stop nothing --debug", "StudyNotFound"),
        ("search nowhere", "nowhere"),
        ("search digits --gpus 0 --name BAD --debug", "cannot name a study"),
        ("status --redis {wrong}", "refuses the user name or password"),
        ("status --debug --redis={wrong}", "refuses the user name or password"),
        ("status --redis redis://:{canary}@127.0.0.1:1", "does not answer"),
        ("status --debug --redis redis://:{canary}@127.0.0.1:1", "does not answer"),
        ("status --redis redis://:{canary}@127.0.0.1:port", "malformed"),
        ("status --debug --redis redis://:{canary}@127.0.0.1?colour={canary}", "options cannot be used"),
        ("status --debug --redis http://:{canary}@127.0.0.1", "begins with http://"),
        ("status one two://:{canary}@127.0.0.1", "unexpected extra argument"),
        ("search digits --debug --address http://127.0.0.1:1", "a Redis at a Unix socket cannot be reached"),
        ("search digits --redis redis://:{canary}@127.0.0.1:1 --address http://127.0.0.1:1", "does not answer"),
        ("search digits --debug --address http://:{canary}@127.0.0.1:1", "is not understood"),
        ("status --reddis=redis://:{canary}@127.0.0.1", "No such option"),
    ],
)
def test_no_command_says_the_password(program: Program, url: str, command: str, said: str) -> None:
    words = command.format(wrong=url.replace(CANARY, f"{CANARY}x"), canary=CANARY).split()
    result = subprocess.run(
        program.command(*words), env=program.environment, capture_output=True, text=True, timeout=60, cwd=program.home
    )
    assert said in result.stdout + result.stderr
    assert CANARY not in result.stdout + result.stderr
    check_files(program.home)


@pytest.mark.integration
@pytest.mark.timeout(180)
def test_a_search_that_fails_leaves_the_password_nowhere(program: Program, url: str) -> None:
    del program.environment["TUNER_REDIS"]
    options = f"--debug search digits --gpus 0 --workers 1 --trials 4 --max-epochs 2 --space deep.toml --redis {url}"
    process = program.start(*options.split())
    seen: dict[str, str] = {}
    output: list[str] = []

    def watch() -> None:
        while process.poll() is None:
            with_children = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            for found in with_children:
                try:
                    # What the first instants show is the user's own command line, before it starts itself again.
                    if len(with_children) > 1:
                        seen[" ".join(found.cmdline())] = str(found.environ()) if found.pid != process.pid else ""
                except psutil.Error:
                    continue
            threading.Event().wait(0.2)

    watcher = threading.Thread(target=watch)
    watcher.start()
    jobs = ""
    try:
        for line in process.stdout:
            output.append(line)
            if dashboard := re.search(r"Ray dashboard: (\S+)", line):
                jobs = ask(f"{dashboard[1]}/api/jobs/")
        assert process.wait(timeout=60) == 1
    finally:
        process.terminate()
        process.wait(timeout=60)
        watcher.join()
    text = "".join(output)
    assert "depth = 6 is too deep" in text
    assert "Traceback" in text
    assert any("raylet" in command for command in seen)
    assert "search digits" in json.loads(jobs)[0]["entrypoint"]
    assert json.loads(jobs)[0]["metadata"] == {
        "job_name": "tuner: digits",
        "study": "digits",
        "dataset": "digits",
        "space": "deep.toml",
        "trials": "4",
        "max_epochs": "2",
    }
    for where in (text, jobs, *seen, *seen.values()):
        assert CANARY not in where
    program.environment["TUNER_REDIS"] = url
    told = [program(*command.split()) for command in ("list", "status", "status --json", "trials")]
    assert [CANARY in answer for answer in told] == [False] * 4
    assert "4 failed" in told[1] or "3 failed" in told[1]
    assert list(program.home.rglob("raylet.out"))  # Ray's own logs are among the files
    check_files(program.home)


def ask(url: str) -> str:
    """The dashboard's answer, asked with Ray's token."""
    token = Path("~/.ray/auth_token").expanduser().read_text().strip()
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


@pytest.mark.parametrize(
    ("command", "rest", "url"),
    [
        ("tuner status --redis redis://:p@h --json", "tuner status --json", "redis://:p@h"),
        ("tuner status --redis=redis://u:p@h", "tuner status", "redis://u:p@h"),
        ("python -m tuner list --redis redis://h?password=p", "python -m tuner list", "redis://h?password=p"),
        ("tuner status --redis redis://h --json", "tuner status --redis redis://h --json", None),
        ("tuner status --json", "tuner status --json", None),
        ("tuner status --redis", "tuner status --redis", None),
    ],
)
def test_a_password_is_taken_out_of_the_command_line(command: str, rest: str, url: str | None) -> None:
    assert without_password(command.split()) == (rest.split(), url)


def test_the_password_of_the_environment_goes_to_redis_and_to_no_process_that_is_started_later(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = url.replace(f":{CANARY}@", "")
    file = tmp_path / "password"
    file.write_text(f"{CANARY}\n")
    for name, value in (("TUNER_REDIS_PASSWORD", CANARY), ("TUNER_REDIS_PASSWORD_FILE", str(file))):
        monkeypatch.setenv("TUNER_REDIS", bare)
        monkeypatch.setenv(name, value)
        open_store(bare)[0].ping()
        assert CANARY not in str(os.environ)
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TUNER_REDIS_PASSWORD", "another")
    open_store(url)[0].ping()  # a URL with a password keeps it
    monkeypatch.setenv("TUNER_REDIS_PASSWORD", "another")
    with pytest.raises(StoreError, match="or the password into TUNER_REDIS_PASSWORD"):
        open_store(bare)
    monkeypatch.setenv("TUNER_REDIS_PASSWORD_FILE", str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"TUNER_REDIS_PASSWORD_FILE names .*none, which cannot be read: No such file"):
        open_store(bare)


def test_the_program_starts_itself_again_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, list[str]]] = []

    def execv(program: str, command: list[str]) -> None:
        started.append((program, command))
        raise SystemExit

    monkeypatch.setenv("TUNER_REDIS", "")
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "tuner", "status", "--redis", "redis://:p@h", "x"])
    monkeypatch.setattr(os, "execv", execv)
    with pytest.raises(SystemExit):
        cli.main()
    assert started == [(sys.executable, [sys.executable, "-m", "tuner", "status", "x"])]
    assert os.environ["TUNER_REDIS"] == "redis://:p@h"
