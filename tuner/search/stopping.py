"""Ending a search before it is done: by signal, on request, by the time budget, or because the lease is lost."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuner.search.record import StudyRecord

STOP_GRACE_S = 30.0  # what runs may still report for so long after a stop was asked for


class Stop:
    """Why and since when a search is being stopped; asked for by signals, clients, the time budget or a lost lease."""

    def __init__(self, record: StudyRecord, on_stop: Callable[[str], None]) -> None:
        self.why = ""
        self.signal: int | None = None
        self._record = record
        self._on_stop = on_stop
        self._deadline_s = float("inf")

    def request(self, why: str, *, grace_s: float = STOP_GRACE_S) -> None:
        """Launch nothing more, and end what still runs after `grace_s` seconds. The first reason stands."""
        self._deadline_s = min(self._deadline_s, time.monotonic() + grace_s)
        if not self.why:
            self.why = why
            self._record.stop()
            self._on_stop(why)

    def overdue(self) -> bool:
        """Whether the time is over in which what runs could still report."""
        return time.monotonic() >= self._deadline_s


@contextmanager
def signals_stop(stop: Stop) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Ctrl-C and SIGTERM stop the search; a second one leaves the block that the yielded function opens.

    Outside of that block nothing is waited for: a second signal changes nothing there, a third is a KeyboardInterrupt.
    Only the main thread hears signals.
    """
    received = 0
    may_leave = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal received, may_leave
        received += 1
        if received == 1:
            stop.signal = number
            stop.request("interrupted")
        elif may_leave:
            may_leave = False  # one exception: a second one could be raised where the first is being caught
            raise KeyboardInterrupt
        elif received > 2:
            raise KeyboardInterrupt

    @contextmanager
    def until_second_signal() -> Iterator[None]:
        nonlocal may_leave
        try:
            try:
                may_leave = received < 2
                yield
            finally:
                may_leave = False
        except KeyboardInterrupt:
            if stop.signal is None:
                raise

    if threading.current_thread() is not threading.main_thread():
        yield until_second_signal
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield until_second_signal
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
