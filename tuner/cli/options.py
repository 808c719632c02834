"""Options and arguments that several commands share, and how their values are read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.errors import UsageError
from tuner.settings import Settings, load_settings

if TYPE_CHECKING:
    import redis

Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Study; the newest one by default.")]
Redis = Annotated[
    str | None,
    typer.Option(
        "--redis",
        envvar="TUNER_REDIS",
        metavar="URL",
        help="redis://, rediss:// or unix:// URL of the store; a private server of this user by default.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", envvar="TUNER_ADDRESS", metavar="HOST:PORT", help="Ray cluster to join; a local Ray by default."
    ),
]
TimeBudget = Annotated[
    str | None,
    typer.Option(
        "--time-budget",
        envvar="TUNER_TIME_BUDGET",
        metavar="TIME",
        help="Stop after this wall-clock time, such as 90s, 30m or 2h (seconds without a unit); no limit by default.",
    ),
]

_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_seconds(text: str | None) -> float | None:
    """`90`, `90s`, `1.5h` ... in seconds. Raises UsageError for anything else."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip().lower())
    seconds = float(match[1]) * _UNITS_S[match[2]] if match else 0.0
    if seconds <= 0:
        raise UsageError(f"time {text!r} is not understood: give a number above 0 with s, m, h or d, such as 30m")
    return seconds


def open_store(url: str | None) -> tuple[redis.Redis, Settings]:
    """Connect to the store at `url`, or start the private one. Raises StoreError in one line if that fails."""
    from tuner.store import client, embedded

    settings = load_settings()
    return client.connect(url or embedded.ensure_running(settings.home)), settings


def absolute(path: Path | None, default: Path) -> Path:
    """`path` made absolute against the current folder, or `default`: workers have another current folder."""
    return default if path is None else path.expanduser().absolute()
