"""A lock between processes of one machine, on a file, that nobody waits for without end.

The file says who holds the lock, and its time of change moves while the holder makes progress: who waits compares that
time with the one that it saw before, never with a clock. The kernel frees the lock of a process that dies.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tuner.errors import DataError

# How long a holder may make no progress before those who wait give up.
STALLED_S = 300.0
# Whoever waits longer is told what for.
TELL_AFTER_S = 3.0

_BEAT_EVERY_S = 1.0
_POLL_S = 0.1
_HOLDER_BYTES = 200

_log = logging.getLogger(__name__)


@contextmanager
def file_lock(path: Path, doing: str, *, stalled_s: float = STALLED_S) -> Iterator[Callable[[], None]]:
    """Hold the exclusive lock of `path` (made if absent, never removed: a removed lock file locks nobody out).

    Gives a function to call, from any thread and as often as one likes, whenever there is progress. doing: what the
    lock is held for, for those who wait. Raises DataError if its holder makes no progress for `stalled_s` seconds,
    OSError if the file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _wait(descriptor, path, stalled_s)
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}, {doing} since {since}".encode(), 0)
        yield _beater(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def beating(beat: Callable[[], None]) -> Iterator[None]:
    """Counts the whole block as progress: for work that cannot tell how far it is, but cannot hang either."""
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(_BEAT_EVERY_S):
            beat()

    thread = threading.Thread(target=keep, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beater(descriptor: int) -> Callable[[], None]:
    last_s = time.monotonic()

    def beat() -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= _BEAT_EVERY_S:
            last_s = now_s
            os.utime(descriptor)

    return beat


def _wait(descriptor: int, path: Path, stalled_s: float) -> None:
    began_s = progress_s = time.monotonic()
    seen_ns, told = -1, False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            return
        now_s, changed_ns = time.monotonic(), os.fstat(descriptor).st_mtime_ns
        if changed_ns != seen_ns:
            seen_ns, progress_s = changed_ns, now_s
        if now_s - progress_s > stalled_s:
            raise DataError(
                f"{_holder(descriptor)}, holds {path} and has made no progress for {now_s - progress_s:.0f} s: end it "
                "if it is stopped or hangs, then try again"
            )
        if not told and now_s - began_s >= TELL_AFTER_S:
            _log.warning("waiting for %s, as long as it makes progress", _holder(descriptor))
            told = True
        time.sleep(_POLL_S)


def _holder(descriptor: int) -> str:
    """Who holds the lock, as it wrote it; whoever may write to the folder can write anything there."""
    text = os.pread(descriptor, _HOLDER_BYTES, 0).decode(errors="replace")
    return "".join(letter if letter.isprintable() else "?" for letter in text) or "another process"
