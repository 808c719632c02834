"""Lines in a worker's log that say where a trial begins: one worker trains many, and has one log."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TextIO

_MARK = re.compile(rb"trial (\d+), attempt \d+ (begins|goes on after epoch \d+)$")


def mark_trial(log: TextIO, number: int, attempt: int, start_epoch: int) -> None:
    """Write such a line. Never raises."""
    how = f"goes on after epoch {start_epoch}" if start_epoch else "begins"
    with suppress(OSError, ValueError):  # a full disk, a closed file
        log.write(f"trial {number}, attempt {attempt} {how}\n")
        log.flush()


def marked_trial(line: bytes) -> int | None:
    """The trial that begins with this line of a log; None for any other line."""
    found = _MARK.match(line)
    return None if found is None else int(found[1])
