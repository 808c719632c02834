"""A search inside somebody else's Python process, which it leaves as it was found."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections import ChainMap
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tuner.errors import TunerError, UsageError
from tuner.settings import load_settings
from tuner.store.password import REDIS_VARIABLE, SECRET_VARIABLES, with_password

if TYPE_CHECKING:
    import redis
    from rich.console import Console

_PREFIXES = ("RAY_", "TUNE_", *SECRET_VARIABLES)  # what a search sets for Ray and Tune, and what it hides from them
# When it is imported Ray sets the level of "ray" alone. "ray.widgets" asks for widgets in a notebook.
_LOG_LEVELS = {"ray": logging.CRITICAL, "ray.widgets": logging.CRITICAL, "optuna": logging.ERROR}
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_search = threading.Lock()
_hidden: dict[str, str] = {}


@contextmanager
def guest() -> Iterator[None]:
    """For the block, nothing that starts sees a password; Ray and Optuna are silent, but for what is an error.

    After it, variables of Ray, Tune and Redis, log levels and signal handlers are what they were. Raises TunerError if
    a search runs in this process already: Ray is connected once a process.
    """
    if not _search.acquire(blocking=False):
        raise TunerError(
            "a search runs in this process already, and Ray is connected once a process: wait for it, or start the "
            "other one in a process of its own"
        )
    try:
        with _environment_kept(), _log_levels_kept(), _signal_handlers_kept():
            yield
    finally:
        _search.release()


@contextmanager
def store(url: str | None, *, insecure: bool = True) -> Iterator[redis.Redis]:
    """A connection for the block: to `url`, to the one of the environment, or to the private server."""
    from tuner.store import client, embedded

    # What a search in another thread hides from its own processes is not hidden from this one.
    variables = ChainMap(_hidden, os.environ)
    url = with_password(url or variables.get(REDIS_VARIABLE) or None, variables)
    with client.connect(url or embedded.ensure_running(load_settings().home), insecure=insecure) as connected:
        yield connected


def console_for(progress: bool) -> Console:
    """Standard output, or nothing. Plain text in a notebook: of each line rich would make an output of its own there,
    and the kernel has it believe in a terminal."""
    from rich.console import Console

    from tuner.notebook import in_notebook

    return Console(quiet=not progress, force_jupyter=False, force_terminal=False if in_notebook() else None)


def refuse_unless_whole(**numbers: int | None) -> None:
    """Whoever runs no type checker may give 2.5 or "3", which no worker could read from the study's record."""
    for name, value in numbers.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise UsageError(f"{name} = {value!r} is not allowed: it must be a whole number")


def refuse_below_one(**numbers: int | None) -> None:
    refuse_unless_whole(**numbers)
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise UsageError(f"{name} = {value} is too small: it must be at least 1")


def refuse_dashboard(address: str | None) -> None:
    from tuner.ray_http import is_http

    if address is not None and is_http(address):
        raise UsageError(
            f"address = {address!r} is a dashboard, to which `tuner search --address {address}` submits; from Python "
            "a search runs where it is called: give HOST:PORT or auto on a machine of the cluster"
        )


@contextmanager
def _environment_kept() -> Iterator[None]:
    before = _ours(os.environ)
    _hidden.update({name: os.environ.pop(name) for name in SECRET_VARIABLES if name in os.environ})
    try:
        yield
    finally:
        for name in _ours(os.environ).keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
        _hidden.clear()


def _ours(variables: MutableMapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name.startswith(_PREFIXES)}


@contextmanager
def _log_levels_kept() -> Iterator[None]:
    with warnings.catch_warnings():
        # In a notebook tqdm, which it imports, asks for widgets that nothing here uses.
        warnings.filterwarnings("ignore", message="IProgress not found")
        import optuna  # noqa: F401 - it sets its logger's level, which is not to be undone below
    before = {name: logging.getLogger(name).level for name in _LOG_LEVELS}
    for name, level in _LOG_LEVELS.items():
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Ray takes SIGTERM when it is connected in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
