"""Waits until nothing else keeps the processors busy, because a measurement beside other work says little."""

from __future__ import annotations

import os
import time
from pathlib import Path


def wait_for_quiet(patience_s: float) -> None:
    """Wait until others leave most of the processors alone, but no longer than that."""
    end_s = time.monotonic() + patience_s
    while time.monotonic() < end_s:
        before = idle_ticks()
        time.sleep(1.0)
        if idle_ticks() - before > 0.7 * os.sysconf("SC_CLK_TCK") * (os.cpu_count() or 1):
            return


def idle_ticks() -> int:
    """How long all processors together had nothing to do so far."""
    return int(Path("/proc/stat").read_text().split()[4])
