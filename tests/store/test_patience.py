from __future__ import annotations

import pytest
import redis

from tuner.errors import StoreError, StoreUnavailable
from tuner.store.patience import Patience


class Redis:
    """Fails so often, then answers; time passes only when somebody sleeps."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error, self.now_s, self.slept = failures, error, 0.0, list[float]()

    def command(self) -> str:
        if self.failures > 0:
            self.failures -= 1
            raise self.error
        return "answer"

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.slept.append(seconds)


def ask(server: Redis, retry_s: float) -> str:
    return Patience("s", retry_s, clock=server.clock, sleep=server.sleep).call("asking", server.command)


def test_the_pauses_double_up_to_five_seconds() -> None:
    server = Redis(9, redis.ConnectionError("refused"))
    assert ask(server, 600.0) == "answer"
    assert server.slept == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


def test_a_failure_of_a_moment_is_not_worth_a_line(caplog: pytest.LogCaptureFixture) -> None:
    assert ask(Redis(2, redis.ConnectionError("refused")), 600.0) == "answer"
    assert caplog.records == []


def test_without_time_the_first_failure_is_raised_as_it_is() -> None:
    server = Redis(1, redis.TimeoutError("late"))
    with pytest.raises(StoreUnavailable, match=r"^Redis failed while asking: late$"):
        ask(server, 0.0)
    assert server.slept == []


def test_what_waiting_does_not_mend_is_raised_at_once() -> None:
    server = Redis(1, redis.ResponseError("WRONGTYPE"))
    with pytest.raises(StoreError, match=r"^Redis failed while asking: WRONGTYPE$"):
        ask(server, 600.0)
    assert server.slept == []


def test_the_wait_ends_at_most_one_command_and_one_revival_after_its_time() -> None:
    server = Redis(10**6, redis.TimeoutError("frozen"))

    def command() -> str:
        server.now_s += 5.0
        return server.command()

    def revive() -> None:
        server.now_s += 1.0

    patience = Patience("s", 600.0, revive=revive, clock=server.clock, sleep=server.sleep)
    with pytest.raises(StoreUnavailable, match=r"it stayed so for 60[0-6] s"):
        patience.call("asking", command)
    assert 600.0 <= server.now_s <= 606.0


def test_a_first_try_during_which_this_process_was_suspended_is_not_the_last() -> None:
    server = Redis(1, redis.TimeoutError("late"))

    def command() -> str:
        server.now_s += 1000.0
        return server.command()

    assert Patience("s", 600.0, clock=server.clock, sleep=server.sleep).call("asking", command) == "answer"
