"""What is said when the process of a search ends before it can say anything itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tuner import lastwords
from tuner.lastwords import last_words

LINE = "error: the search ended suddenly; nothing is lost, go on with `tuner resume my-study.2`\n"
START = "import os, signal, subprocess, sys, time; from tuner.lastwords import last_words\n"


def run(code: str) -> tuple[int, str, float]:
    """Run code in a process of its own: its exit code, standard error, and seconds until both are there."""
    start_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", START + code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=30
    )
    return done.returncode, done.stderr, time.monotonic() - start_s


@pytest.mark.parametrize(
    ("end", "code"),
    [("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL), ("os._exit(1)", 1), ("os.abort()", -signal.SIGABRT)],
)
def test_a_sudden_end_says_how_to_go_on(end, code):
    assert run(f"with last_words('my-study.2'): {end}")[:2] == (code, LINE)


def test_processes_that_outlive_the_search_do_not_hold_the_line_back():
    sleeper = "subprocess.Popen(['/bin/sleep', '20'], stderr=subprocess.DEVNULL)"
    code, said, seconds = run(f"with last_words('my-study.2'): {sleeper}; os._exit(1)")
    assert (code, said) == (1, LINE)
    assert seconds < 10


def test_an_end_of_the_block_says_nothing():
    assert run("with last_words('my-study.2'): pass\nos._exit(3)")[:2] == (3, "")
    assert run("try:\n  with last_words('x'): raise OSError\nexcept OSError: os._exit(3)")[:2] == (3, "")


def test_ctrl_c_of_the_terminal_does_not_end_the_shell():
    code = "with last_words('my-study.2'):\n  os.killpg(0, signal.SIGINT)\n  os.kill(os.getpid(), signal.SIGKILL)"
    survive = "os.setpgid(0, 0); signal.signal(signal.SIGINT, lambda *_: None)\n"
    assert run(survive + code)[:2] == (-signal.SIGKILL, LINE)


def children() -> list[int]:
    return [int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]


def test_the_shell_is_gone_with_the_block_at_once():
    before = children()
    start_s = time.monotonic()
    with last_words("my-study.2"):
        assert len(children()) == len(before) + 1
    assert children() == before
    assert time.monotonic() - start_s < 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_shell_that_is_killed_or_stopped_meanwhile_changes_nothing(number, monkeypatch):
    monkeypatch.setattr(lastwords, "_SHELL_ENDS_S", 0.2)
    before = set(children())
    with last_words("my-study.2"):
        (shell,) = set(children()) - before
        os.kill(shell, number)
        threading.Event().wait(0.1)
    if number == signal.SIGSTOP:
        os.kill(shell, signal.SIGCONT)
        os.waitpid(shell, 0)


def test_a_machine_without_a_shell_searches_all_the_same(monkeypatch, caplog):
    def no_shell(*_arguments, **_options):
        raise FileNotFoundError("/bin/sh")

    monkeypatch.setattr(lastwords.subprocess, "Popen", no_shell)
    with last_words("my-study.2"):
        entered = True
    assert entered
    assert caplog.messages == ["if the search ends suddenly, nothing will say how to go on: /bin/sh"]
