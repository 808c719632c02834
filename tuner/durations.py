"""Times as people write them: `90s`, `30m`, `2h`."""

from __future__ import annotations

import re

from tuner.errors import UsageError

_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_seconds(time: str | float | None) -> float | None:
    """`90`, `90s`, `1.5h` ... in seconds; a number is seconds already. Raises UsageError for anything else."""
    if time is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", str(time).strip().lower())
    seconds = float(match[1]) * _UNITS_S[match[2]] if match else 0.0
    if seconds <= 0:
        raise UsageError(f"time {time!r} is not understood: give a number above 0 with s, m, h or d, such as 30m")
    return seconds
