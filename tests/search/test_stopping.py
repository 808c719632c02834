"""Signals and requests that stop a search: what the first, the second and the third of them do, and when."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress

import pytest

from tuner.search.stopping import Stop, signals_stop


class Record:
    """Counts how often it was told to launch nothing more."""

    def __init__(self):
        self.stops = 0

    def stop(self):
        self.stops += 1


@pytest.fixture
def stop():
    told = []
    stop = Stop(Record(), told.append)
    stop.told = told
    return stop


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


def test_the_first_signal_asks_the_search_to_stop_and_leaves_the_block_alone(stop):
    with signals_stop(stop) as leave, leave():
        ctrl_c()
        went_on = True
    assert went_on
    assert (stop.signal, stop.why, stop.told) == (signal.SIGINT, "interrupted", ["interrupted"])
    assert not stop.overdue()


def test_the_second_signal_leaves_the_block_and_nothing_else(stop):
    after = False
    with signals_stop(stop) as leave:
        with leave():
            ctrl_c()
            ctrl_c()
            raise AssertionError("the block goes on")
        after = True
    assert after


def test_a_second_signal_while_the_search_is_being_left_changes_nothing(stop):
    after = False
    with signals_stop(stop) as leave:
        with leave():
            ctrl_c()
        ctrl_c()
        after = True
    assert after


def test_a_third_signal_while_the_search_is_being_left_is_an_interruption(stop):
    with signals_stop(stop) as leave:
        with leave():
            ctrl_c()
        ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            ctrl_c()


def test_an_interruption_that_no_signal_of_ours_caused_is_passed_on(stop):
    with pytest.raises(KeyboardInterrupt), signals_stop(stop) as leave, leave():
        raise KeyboardInterrupt


def test_the_handlers_from_before_are_back_afterwards(stop):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with suppress(KeyboardInterrupt), signals_stop(stop) as leave, leave():
        assert signal.getsignal(signal.SIGINT) is not before[0]
        ctrl_c()
        ctrl_c()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_thread_that_is_not_the_main_one_hears_no_signals_and_runs_its_search(stop):
    ran = []

    def search():
        with signals_stop(stop) as leave, leave():
            ran.append(True)

    thread = threading.Thread(target=search)
    thread.start()
    thread.join(10)
    assert ran == [True]
    assert stop.signal is None
