"""When nothing more is launched, although trials are left: all fail alike, or no checkpoint can be saved."""

from __future__ import annotations

import logging
import re
from collections import Counter

from tuner.exchange import Failure, Report

_log = logging.getLogger(__name__)

SAME_ERRORS = 3  # attempts that end by the same error, with no epoch ever reported, before the search gives up


class Brake:
    """Told what becomes of the attempts of one driver's life; asked before each launch.

    fatal_error: the error that ended all attempts, once the search gave up for it. save_error: why the newest
    checkpoint that was due could not be saved, None if it could. out_of_room: the search stopped for that.
    any_epoch: whether the study ever reported an epoch.
    """

    def __init__(self) -> None:
        self.fatal_error: str | None = None
        self.save_error: str | None = None
        self.out_of_room = False
        self.any_epoch = False
        self._early_errors: Counter[str] = Counter()
        self._details: dict[str, str] = {}
        self._launches = 0
        self._launched: dict[int, int] = {}
        self._losses_seen = 0

    def launched(self, number: int) -> None:
        """An attempt of trial `number` was handed out."""
        self._launches += 1
        self._launched[number] = self._launches

    def reported(self, report: Report) -> None:
        """An attempt reported an epoch."""
        if report.save_error and self.save_error is None:
            _log.warning("%s; nothing more is launched until one can be saved", report.save_error)
        if report.save_error:
            self.save_error = report.save_error
        elif report.checkpoint is not None:
            self.save_error = None

    def failed(self, failure: Failure) -> None:
        """An attempt failed."""
        if failure.kind == "error":
            kind = _kind_of(failure)
            self._early_errors[kind] += 1
            self._details[kind] = failure.detail

    def lost(self, number: int, detail: str) -> None:
        """The running attempt of trial `number` was lost with its worker.

        A machine that dies takes many attempts with it: what was launched before a loss was seen counts with that one.
        """
        if self._launched[number] > self._losses_seen:
            self._early_errors[f"the worker is lost before it reports an epoch ({detail})"] += 1
            self._losses_seen = self._launches

    def holds(self, *, anything_runs: bool, anything_left: bool, stopping: bool) -> bool:
        """Whether nothing may be launched now. Once nothing runs either, `fatal_error` or `out_of_room` says why."""
        return self._gives_up(anything_runs) or self._waits_for_room(anything_runs, anything_left, stopping)

    def _gives_up(self, anything_runs: bool) -> bool:
        """Whether all that ran failed in the same way, before any epoch was reported.

        What meets every configuration is not the configurations' fault: stop while little is lost. While a trial still
        runs it may prove the contrary, so the search only waits.
        """
        if self.any_epoch or not self._early_errors:
            return False
        error, count = self._early_errors.most_common(1)[0]
        if count < SAME_ERRORS:
            return False
        if not anything_runs and self.fatal_error is None:
            self.fatal_error = self._details.get(error, error)
        return True

    def _waits_for_room(self, anything_runs: bool, anything_left: bool, stopping: bool) -> bool:
        """Whether checkpoints cannot be saved.

        A trial that still runs may save one, and so show that there is room again; without one the search stops.
        """
        if self.save_error is None or not anything_left:
            return False
        if not anything_runs and not stopping:
            self.out_of_room = True
        return True

    @property
    def ended_the_search(self) -> bool:
        """Whether the search is over because of it."""
        return self.fatal_error is not None or self.out_of_room


def _kind_of(failure: Failure) -> str:
    """What makes two errors the same: their line or, of code that failed, the place in it, for such texts often hold
    numbers of the configuration."""
    places = re.findall(r'^  File "(.+", line \d+), in .*$', failure.traceback, flags=re.MULTILINE)
    return f"{failure.detail.partition(':')[0]} at {places[-1]}" if places else failure.detail
