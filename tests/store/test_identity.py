from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tuner.store import identity


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until its standard input is closed."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        yield child


def held_by(process: subprocess.Popen[bytes]) -> identity.Holder:
    start = identity.process_start(process.pid)
    assert start is not None
    return dataclasses.replace(identity.this_process(5.0), pid=process.pid, process_start=start)


def test_a_holder_survives_its_json() -> None:
    me = identity.this_process(1_700_000_000.123456)
    assert identity.Holder.from_json(me.to_json()) == me
    assert me.pid == os.getpid()


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"host": "a"}'])
def test_what_is_no_holder_is_refused(text: str) -> None:
    with pytest.raises((TypeError, ValueError)):
        identity.Holder.from_json(text)


def test_a_living_process_is_not_gone_and_an_unreaped_one_is(process: subprocess.Popen[bytes]) -> None:
    holder = held_by(process)
    assert not holder.is_gone()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended and is still in /proc
    assert holder.is_gone()
    process.wait()
    assert holder.is_gone()


def test_another_process_with_the_same_pid_is_not_the_holder() -> None:
    me = identity.this_process(5.0)
    assert not me.is_gone()
    assert dataclasses.replace(me, process_start=me.process_start - 1).is_gone()


@pytest.mark.parametrize("field", ["host", "boot_id", "pid_namespace"])
def test_a_process_that_cannot_be_seen_is_never_called_gone(field: str) -> None:
    unseen = dataclasses.replace(identity.this_process(5.0), pid=2**22 + 1, **{field: "other"})
    assert not unseen.is_gone()


def test_a_process_that_proc_hides_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, signal: int) -> None:
        raise PermissionError

    hidden = dataclasses.replace(identity.this_process(5.0), pid=2**22 + 1)
    assert hidden.is_gone()
    monkeypatch.setattr(identity.os, "kill", refuse)
    assert not hidden.is_gone()


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(identity.getpass, "getuser", nameless)
    assert identity.user_name() == f"uid {os.getuid()}"


def test_a_holder_reads_as_a_sentence_part() -> None:
    holder = identity.Holder("host", "boot", "ns", 12, 3, "ann", 0.0)
    assert str(holder) == "process 12 of ann on host since 1970-01-01 00:00:00 UTC"
