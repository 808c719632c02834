"""Ending a search by signals: everything is kept, the exit code tells the signal, the last line tells how to go on."""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.program import new_program

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def tuner():
    with new_program() as program:
        yield program


@pytest.fixture
def running(tuner, request):
    """A search on digits, named like the test, that has finished at least one trial."""
    name = request.node.name.replace("_", "-")[:60]
    process = tuner.start("search", "digits", "--gpus", "0", "--trials", "100", "--name", name)
    try:
        tuner.wait_until(lambda: tuner.finished(name) >= 1, process)
        yield name, process
    finally:
        process.kill()
        process.wait()


def check_everything_is_kept(tuner, name):
    status = json.loads(tuner("status", name, "--json"))
    assert (status["state"], status["driver"], status["trials"]["running"]) == ("stopped", None, 0)
    assert status["trials"]["complete"] + status["trials"]["pruned"] >= 1


def test_sigterm_ends_a_search_like_ctrl_c_with_its_own_exit_code(tuner, running):
    name, process = running
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 143, printed
    assert f"go on with `tuner resume {name}`" in printed
    check_everything_is_kept(tuner, name)


def test_a_second_ctrl_c_leaves_at_once(tuner, running):
    name, process = running
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=15)
    assert process.returncode == 130, printed
    assert "Traceback" not in printed
    assert f"go on with `tuner resume {name}`" in printed
    check_everything_is_kept(tuner, name)


def test_tuner_stop_from_another_process_ends_it_and_returns_zero(tuner, running):
    name, process = running
    assert f"asked study {name} to stop" in tuner("stop", name)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    assert "stopped (asked by `tuner stop`)" in printed
    check_everything_is_kept(tuner, name)
