"""Waiting for a Redis that went away: how long, how often it is asked, and what is said."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from tuner.errors import StoreError, StoreUnavailable
from tuner.store.client import redis_errors

# How long a driver waits for a Redis that went away during a search, in seconds.
OUTAGE_S = 600.0
# A connection that breaks and is there again in this time is not worth a line.
QUIET_S = 1.0

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0

_log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class Patience:
    """Repeats a command until Redis answers, for `retry_s` seconds; it ends at most one command and one `revive` later.

    revive: called between two tries; starts a Redis that died, and may raise StoreError. It must not wait for long.
    gives_up: once it says so, no more than one further try is made, since the search has ended. name: of the study.
    """

    def __init__(
        self,
        name: str,
        retry_s: float,
        *,
        revive: Callable[[], object] | None = None,
        gives_up: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._name = name
        self._retry_s = retry_s
        self._revive = revive
        self._gives_up = gives_up
        self._clock = clock
        self._sleep = sleep

    def call(self, doing: str, command: Callable[[], Answer]) -> Answer:
        """What `command` answers. It must do no harm when it is applied and its answer is lost, and it runs again.

        Raises StoreUnavailable once the time is over, StoreError at once for what waiting does not mend.
        """
        began_s, pause_s, told, why_dead, is_first = self._clock(), _FIRST_PAUSE_S, "", "", True
        while True:
            is_last = self._gives_up()
            try:
                with redis_errors(doing):
                    answer = command()
            except StoreUnavailable as error:
                if self._retry_s <= 0:
                    raise
                away_s = self._clock() - began_s
                # This process itself may have been stopped during the first try.
                is_last = is_last or (away_s >= self._retry_s and not is_first)
                if not is_last:
                    why_dead = self._revived()
                why = f"{error}{why_dead}"
                if is_last:
                    raise StoreUnavailable(
                        f"{why}; it stayed so for {away_s:.0f} s. Nothing that was recorded is lost: "
                        f"mend it, then `tuner resume {self._name}`"
                    ) from error
                if why != told and away_s >= QUIET_S:
                    _log.warning("%s; waiting for it, %.0f s at most", why, self._retry_s)
                    told = why
            else:
                if told:
                    _log.warning("Redis answers again, after %.0f s", self._clock() - began_s)
                return answer
            left_s = began_s + self._retry_s - self._clock()
            self._sleep(min(pause_s, max(left_s, _FIRST_PAUSE_S)))
            pause_s, is_first = min(2 * pause_s, _LONGEST_PAUSE_S), False

    def _revived(self) -> str:
        """Empty if there is nothing to revive or it lives, else why it could not be started."""
        try:
            if self._revive is not None:
                self._revive()
        except StoreError as error:
            return f"; it cannot be started again: {error}"
        return ""
