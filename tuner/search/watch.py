"""Which attempts make no progress any more: a worker that hangs says nothing, so only a clock can tell."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable

PROGRESS_TIMEOUT_S = 300.0  # the shortest silence after which an attempt may be given up
EPOCHS_OF_SILENCE = 5  # and it is never given up before so many median epochs have passed
# The first epoch of a process includes imports, decoding or reading the data set and moving it to the device.
FIRST_EPOCH_EXTRA_S = 300.0

# The longest time between two looks that counts as silence of the workers. If more has passed, the driver itself was
# suspended, or waited for Redis with their reports unread.
_LONGEST_LOOK_S = 5.0
_ASK_EVERY_S = 0.25
_EPOCHS_REMEMBERED = 101


class ProgressWatch:
    """The silence of each attempt. `look` has to be called several times a second, and stands for the time of all.

    It says when to ask about each attempt (`runs`, `silent_too_long_s`): with 1,024 of them that takes milliseconds,
    which a driver has not got after each report.
    """

    def __init__(self, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout_s = timeout_s
        self._clock = clock
        self._looked_s = clock()
        self._now_s = 0.0
        self._since_s: dict[str, float] = {}
        self._process: dict[str, str] = {}
        self._warm: set[str] = set()
        self._epochs_s: deque[float] = deque(maxlen=_EPOCHS_REMEMBERED)
        self._median_s = 0.0
        self._due_s = 0.0

    def look(self) -> bool:
        """Let the time pass that has passed since the last look. True if it is time to ask about each attempt."""
        looked_s = self._clock()
        self._now_s += min(looked_s - self._looked_s, _LONGEST_LOOK_S)
        self._looked_s = looked_s
        if self._now_s < self._due_s:
            return False
        self._due_s = self._now_s + _ASK_EVERY_S
        return True

    def runs(self, attempt: str, process: str) -> None:
        """The attempt has a process, which may still be starting or resetting: its time begins, if it has not yet."""
        if self._process.get(attempt) != process:
            self._process[attempt] = process
            self._since_s[attempt] = self._now_s

    def reported(self, attempt: str) -> None:
        """An epoch of the attempt has come in."""
        if attempt in self._since_s:
            if self._process[attempt] in self._warm:
                self._epochs_s.append(self._now_s - self._since_s[attempt])
                self._median_s = statistics.median(self._epochs_s)
            self._warm.add(self._process[attempt])
            self._since_s[attempt] = self._now_s

    def ended(self, attempt: str) -> None:
        """The attempt is over."""
        self._since_s.pop(attempt, None)
        self._process.pop(attempt, None)

    def silent_too_long_s(self, attempt: str) -> float | None:
        """The time limit in seconds if the attempt has exceeded it; its time begins again then. None if it has not."""
        if attempt not in self._since_s:
            return None
        limit_s = max(self._timeout_s, EPOCHS_OF_SILENCE * self._median_s)
        if self._process[attempt] not in self._warm:
            limit_s += FIRST_EPOCH_EXTRA_S
        if self._now_s - self._since_s[attempt] <= limit_s:
            return None
        self._since_s[attempt] = self._now_s
        return limit_s
