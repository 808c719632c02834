"""When an attempt is taken to hang: a table of silences, on a clock that the test moves."""

from __future__ import annotations

import pytest

from tuner.search.watch import FIRST_EPOCH_EXTRA_S, ProgressWatch


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watch(clock):
    return ProgressWatch(60.0, clock)


def wait(watch, clock, seconds):
    """Time passes while the driver looks every second."""
    for _ in range(seconds):
        clock.now_s += 1.0
        watch.look()


def warm_up(watch, clock, attempt="a", process="p"):
    watch.runs(attempt, process)
    watch.reported(attempt)


def test_a_warm_process_may_be_silent_for_the_timeout_and_no_longer(watch, clock):
    warm_up(watch, clock)
    wait(watch, clock, 60)
    assert watch.silent_too_long_s("a") is None
    wait(watch, clock, 1)
    assert watch.silent_too_long_s("a") == 60.0


def test_the_first_epoch_of_a_process_may_take_longer(watch, clock):
    watch.runs("a", "p")
    wait(watch, clock, 60 + int(FIRST_EPOCH_EXTRA_S))
    assert watch.silent_too_long_s("a") is None
    wait(watch, clock, 1)
    assert watch.silent_too_long_s("a") == 60.0 + FIRST_EPOCH_EXTRA_S


def test_the_next_trial_of_a_warm_process_gets_no_extra_time(watch, clock):
    warm_up(watch, clock)
    watch.ended("a")
    watch.runs("b", "p")
    wait(watch, clock, 61)
    assert watch.silent_too_long_s("b") == 60.0


def test_long_epochs_lengthen_the_limit_to_five_median_epochs(watch, clock):
    warm_up(watch, clock)
    for seconds in (40, 50, 900):  # one slow epoch is not the usual one
        wait(watch, clock, seconds)
        watch.reported("a")
    wait(watch, clock, 250)
    assert watch.silent_too_long_s("a") is None
    wait(watch, clock, 1)
    assert watch.silent_too_long_s("a") == 250.0


def test_the_first_epoch_of_a_process_is_not_a_usual_one(watch, clock):
    watch.runs("a", "p")
    wait(watch, clock, 100)
    watch.reported("a")
    wait(watch, clock, 61)
    assert watch.silent_too_long_s("a") == 60.0


def test_time_in_which_the_driver_did_not_look_is_not_silence(watch, clock):
    warm_up(watch, clock)
    clock.now_s += 600.0  # it was suspended, or waited for Redis; reports may lie unread
    watch.look()
    assert watch.silent_too_long_s("a") is None
    wait(watch, clock, 60)
    assert watch.silent_too_long_s("a") == 60.0


def test_after_the_limit_the_time_begins_again(watch, clock):
    warm_up(watch, clock)
    wait(watch, clock, 61)
    assert watch.silent_too_long_s("a") == 60.0
    assert watch.silent_too_long_s("a") is None


def test_an_attempt_without_a_process_or_one_that_ended_is_never_silent(watch, clock):
    warm_up(watch, clock)
    watch.ended("a")
    wait(watch, clock, 1000)
    assert watch.silent_too_long_s("a") is None
    assert watch.silent_too_long_s("waits for resources") is None


def test_another_process_has_its_own_time(watch, clock):
    warm_up(watch, clock)
    wait(watch, clock, 50)
    watch.runs("a", "p2")
    wait(watch, clock, 50)
    assert watch.silent_too_long_s("a") is None


def test_each_attempt_is_asked_about_four_times_a_second_however_often_the_driver_looks(watch, clock):
    asked = 0
    for _ in range(512):  # 4 s, in steps that a binary fraction has
        clock.now_s += 1 / 128
        asked += watch.look()
    assert asked == 16
