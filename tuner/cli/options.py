"""Options and arguments that several commands share, and how their values are read."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.errors import UsageError
from tuner.settings import Settings, load_settings

if TYPE_CHECKING:
    import redis

REDIS_VARIABLE = "TUNER_REDIS"
PASSWORD_VARIABLE = "TUNER_REDIS_PASSWORD"
PASSWORD_FILE_VARIABLE = "TUNER_REDIS_PASSWORD_FILE"

Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Study; the newest one by default.")]
Redis = Annotated[
    str | None,
    typer.Option(
        "--redis",
        envvar=REDIS_VARIABLE,
        metavar="URL",
        help="redis://, rediss:// or unix:// URL of the store; a private server of this user by default. "
        "The shell remembers a password in it: better put that into TUNER_REDIS_PASSWORD or a file that "
        "TUNER_REDIS_PASSWORD_FILE names.",
    ),
]
Insecure = Annotated[
    bool,
    typer.Option(
        "--insecure",
        envvar="TUNER_INSECURE",
        help="Allow a Redis or a Ray cluster beyond this machine that asks for no password or token.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        envvar=["TUNER_ADDRESS", "RAY_ADDRESS"],
        metavar="HOST:PORT|auto|URL",
        help="Ray cluster: HOST:PORT or auto joins it from one of its machines, http://HOST:8265 submits to it from "
        "anywhere; a local Ray by default.",
    ),
]
Dashboard = Annotated[
    str | None,
    typer.Option(
        "--address",
        envvar=["TUNER_ADDRESS", "RAY_ADDRESS"],
        metavar="URL",
        help="http://HOST:8265 of the cluster's dashboard; by default the one that the search was submitted to.",
    ),
]
Detach = Annotated[
    bool,
    typer.Option(
        "--detach",
        envvar="TUNER_DETACH",
        help="With --address http://...: leave the search alone as soon as it runs there.",
    ),
]
StrictGpus = Annotated[
    bool,
    typer.Option(
        "--strict-gpus",
        envvar="TUNER_STRICT_GPUS",
        help="Fail if the cluster does not have all the GPUs of --gpus within a minute; by default a search starts "
        "with those that are there.",
    ),
]
StrictData = Annotated[
    bool,
    typer.Option(
        "--strict-data",
        envvar="TUNER_STRICT_DATA",
        help="Refuse the data set if a file in it is broken, empty or no picture; by default such files are named and "
        "left out.",
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
ProgressTimeout = Annotated[
    str | None,
    typer.Option(
        "--progress-timeout",
        envvar="TUNER_PROGRESS_TIMEOUT",
        metavar="TIME",
        help="Start a trial's worker anew after so long without an epoch, or five usual epochs if that is longer "
        "(default 5m; 5 minutes more for the first epoch of a process).",
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


def open_store(url: str | None, *, insecure: bool = True) -> tuple[redis.Redis, Settings]:
    """Connect to the store at `url`, or start the private one. Raises StoreError in one line if that fails.

    Only who puts a study somewhere decides about `insecure`; for all other commands the study is already there.
    """
    from tuner.store import client, embedded

    settings = load_settings()
    url = with_password(url)
    # No process that is started from here on, such as Ray's, has any business with the password in it.
    os.environ.pop(REDIS_VARIABLE, None)
    os.environ.pop(PASSWORD_VARIABLE, None)
    return client.connect(url or embedded.ensure_running(settings.home), insecure=insecure), settings


def with_password(url: str | None) -> str | None:
    """`url` with the environment's password if it has none of its own. Raises UsageError for an unreadable file."""
    from tuner.store.urls import add_password

    password = os.environ.get(PASSWORD_VARIABLE) or None
    file = os.environ.get(PASSWORD_FILE_VARIABLE)
    if url is not None and password is None and file:
        try:
            password = Path(file).read_text(encoding="utf-8").strip("\r\n") or None
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise UsageError(f"{PASSWORD_FILE_VARIABLE} names {file}, which cannot be read: {reason}") from None
    return url if url is None or password is None else add_password(url, password)


def without_password(command: list[str]) -> tuple[list[str], str | None]:
    """A command line without its `--redis URL` if that holds a password, and the URL; else the same and None."""
    rest, url, words = [], None, iter(command)
    for word in words:
        given = [word, *itertools.islice(words, 1)] if word == "--redis" else [word]
        value = given[-1].removeprefix("--redis=")
        if word.partition("=")[0] == "--redis" and ("@" in value or "password=" in value):
            url = value
        else:
            rest += given
    return rest, url


def absolute(path: Path | None, default: Path) -> Path:
    """`path` made absolute against the current folder, or `default`: workers have another current folder."""
    return default if path is None else path.expanduser().absolute()
