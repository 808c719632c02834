"""The thread for what a driver need not wait for."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from tuner.search.onethread import OneThread


@pytest.fixture
def thread():
    """One that ends with the test."""
    with OneThread("test") as thread:
        yield thread


def test_everything_runs_in_the_same_thread_in_order(thread):
    done = []
    calls = [thread.submit(lambda number=number: done.append((number, threading.get_ident()))) for number in range(20)]
    for call in calls:
        call.result(10)
    assert [number for number, _ in done] == list(range(20))
    assert {ident for _, ident in done} != {threading.get_ident()}
    assert len({ident for _, ident in done}) == 1


def test_an_error_is_that_of_who_asks_and_the_thread_goes_on(thread):
    with pytest.raises(ZeroDivisionError):
        thread.submit(lambda: 1 / 0).result(10)
    assert thread.submit(divmod, 7, 2).result(10) == (3, 1)


def test_what_is_cancelled_before_it_begins_never_runs(thread):
    go_on, ran = threading.Event(), []
    thread.submit(go_on.wait, 10)
    waiting = thread.submit(ran.append, 1)
    assert waiting.cancel()
    go_on.set()
    thread.submit(ran.append, 2).result(10)
    assert ran == [2]


def test_at_the_end_what_waits_is_left_and_nobody_is_waited_for():
    go_on, ran = threading.Event(), []
    with OneThread("left") as thread:
        thread.submit(go_on.wait, 10)
        thread.submit(ran.append, 1)
        running = next(one for one in threading.enumerate() if one.name == "left")
    assert running.is_alive()
    go_on.set()
    running.join(10)
    assert not running.is_alive()
    assert ran == []


def test_there_is_no_thread_before_it_is_needed():
    with OneThread("idle"):
        assert "idle" not in [one.name for one in threading.enumerate()]


def test_a_search_in_a_thread_goes_on_when_the_programs_own_code_is_at_its_end():
    script = """
import threading
from tuner.search.onethread import OneThread

def search():
    threading.main_thread().join()
    print(OneThread("late").submit(divmod, 7, 2).result(10))

threading.Thread(target=search).start()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("(3, 1)\n", "")
