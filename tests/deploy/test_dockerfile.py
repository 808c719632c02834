"""docker/Dockerfile and start-worker.sh; test_running.py runs their commands."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.files import ROOT, dockerfile, image_environment

START_WORKER = ROOT / "docker" / "start-worker.sh"


def test_hadolint_has_nothing_to_say():
    hadolint = Path(sys.executable).parent / "hadolint"
    result = subprocess.run([hadolint, ROOT / "docker/Dockerfile"], capture_output=True, text=True, timeout=60)
    assert result.stdout + result.stderr == ""


def test_it_ends_as_a_user_by_number_that_is_not_root():
    users = [rest for kind, rest in dockerfile() if kind == "USER"]
    assert users == ["1000"]
    assert [kind for kind, _ in dockerfile()].index("USER") > max(
        index for index, (kind, _) in enumerate(dockerfile()) if kind == "RUN"
    )
    assert "useradd --uid 1000 " in " ".join(rest for kind, rest in dockerfile() if kind == "RUN")


def test_both_stages_have_the_same_pinned_base():
    bases = {rest.split(" AS ")[0] for kind, rest in dockerfile() if kind == "FROM"}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.1[12]\.\d+-slim-bookworm", bases.pop())


def test_every_installation_is_held_by_the_constraints_or_by_the_wheel_itself():
    installs = [
        word for kind, rest in dockerfile() if kind == "RUN" for word in rest.split(" && ") if "pip install" in word
    ]
    assert len(installs) == 3
    assert [line for line in installs if "constraints.txt" not in line and "--no-deps" not in line] == []


def test_it_has_no_entry_point_and_is_closed_by_default():
    assert "ENTRYPOINT" not in {kind for kind, _ in dockerfile()}
    assert image_environment()["RAY_AUTH_MODE"] == "token"


def test_the_build_sees_what_it_copies_and_neither_git_nor_secrets_nor_tests():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = [line[1:] for line in lines if line.startswith("!")]
    assert "*" in lines  # all else is left out
    copied = [rest.split()[:-1] for kind, rest in dockerfile() if kind == "COPY" and "--from" not in rest]
    sources = {Path(word).as_posix() for words in copied for word in words if not word.startswith("--")}
    assert sources == set(allowed)
    assert [path for path in allowed if not (ROOT / path).exists()] == []
    assert not any(fnmatch.fnmatch(name, path) for path in allowed for name in (".git", "docker/.env", "tests"))


@pytest.fixture
def machine(tmp_path):
    """A machine with two GPUs where `ray` only says how it was called, and stays."""
    programs = tmp_path / "bin"
    programs.mkdir()
    write(programs / "nvidia-smi", "echo 'GPU 0: one'; echo 'GPU 1: two'")
    write(programs / "ray", 'echo "$CUDA_VISIBLE_DEVICES $*"; exec sleep 60')
    (tmp_path / "gpus").mkdir()
    return tmp_path


def write(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def start(machine: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PATH": f"{machine / 'bin'}:{os.environ['PATH']}"}
    command = [START_WORKER, machine / "gpus", "--address=head:6380"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)


@pytest.mark.skipif(shutil.which("flock") is None, reason="no flock on this machine (package util-linux)")
def test_the_workers_of_a_machine_take_one_gpu_each_and_give_it_back_when_they_end(machine):
    first, second, third = start(machine), None, None
    try:
        assert [first.stdout.readline(), first.stdout.readline()] == [
            "start-worker: GPU 0 of 2\n",
            "0 start --block --address=head:6380\n",
        ]
        second = start(machine)
        assert second.stdout.readline() == "start-worker: GPU 1 of 2\n"
        one_too_many = start(machine)
        output, _ = one_too_many.communicate(timeout=20)
        assert one_too_many.returncode == 1
        assert output == "start-worker: each of the 2 GPUs has a worker already; start at most 2\n"
        first.kill()
        first.wait(timeout=20)
        third = start(machine)
        assert third.stdout.readline() == "start-worker: GPU 0 of 2\n"
    finally:
        for worker in filter(None, (first, second, third)):
            worker.kill()
            worker.wait(timeout=20)


def test_a_worker_without_gpus_says_so_and_starts(machine):
    write(machine / "bin" / "nvidia-smi", "exit 9")
    worker = start(machine)
    try:
        assert worker.stdout.readline() == "start-worker: no GPU on this machine, training on CPUs\n"
        assert worker.stdout.readline() == " start --block --address=head:6380\n"
    finally:
        worker.kill()
        worker.wait(timeout=20)
