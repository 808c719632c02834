"""Ending a search before it is done: by signal, on request, by the time budget, or because the lease is lost."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
def signals_stop(stop: Stop) -> Iterator[None]:
    """Ctrl-C and SIGTERM stop the search; a second one leaves at once, by KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.signal is not None:
            raise KeyboardInterrupt
        stop.signal = number
        stop.request("interrupted")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
