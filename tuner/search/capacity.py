"""How many trials may run at once while machines join and leave the cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tuner.errors import ClusterError
from tuner.slots import Node, Slots

LOOK_S = 2.0
# Longer than a cloud needs to bring up a machine with a GPU and its image, or to say that it has none.
EMPTY_TIMEOUT_S = 1800.0


class Capacity:
    """Called for the number of trials at once; looks at the cluster again after `LOOK_S`.

    look: gives the living nodes. Raises ClusterError once there was no room for any trial for `EMPTY_TIMEOUT_S`.
    """

    def __init__(
        self,
        slots: Slots,
        look: Callable[[], Sequence[Node]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slots = slots
        self._look = look
        self._clock = clock
        self._looked_s = self._room_s = clock()
        self._at_once = slots.at_once(slots.count)

    def __call__(self) -> int:
        now_s = self._clock()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            room = self._slots.room(self._look())
            self._at_once = self._slots.at_once(room)
            if room > 0:
                self._room_s = now_s
            elif now_s - self._room_s >= EMPTY_TIMEOUT_S:
                what = "GPU" if self._slots.gpus else "CPU"
                raise ClusterError(
                    f"for {EMPTY_TIMEOUT_S / 60:.0f} minutes the cluster had no {what} for a trial (`ray status`); "
                    "nothing is lost, go on with `tuner resume` once it has"
                )
        return self._at_once
