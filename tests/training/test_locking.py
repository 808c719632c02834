from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tuner.errors import DataError
from tuner.training import locking
from tuner.training.locking import beating, file_lock


def _try_lock(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def test_a_held_lock_keeps_others_out_until_it_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with file_lock(path, "testing"), pytest.raises(BlockingIOError):
        _try_lock(path)
    _try_lock(path)


def test_an_error_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with contextlib.suppress(KeyError), file_lock(path, "testing"):
        raise KeyError
    _try_lock(path)


def _hold(path: Path, beats: float, held: threading.Event, let_go: threading.Event) -> None:
    """Hold the lock until `let_go`, with progress for the first `beats` seconds."""
    with file_lock(path, "decoding cats") as progress:
        held.set()
        end_s = time.monotonic() + beats
        while not let_go.wait(0.02):
            if time.monotonic() < end_s:
                progress()


@pytest.fixture
def holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], threading.Event]]:
    """Starts a holder of `lock`: (seconds of progress) -> the event that ends it."""
    monkeypatch.setattr(locking, "_BEAT_EVERY_S", 0.05)
    let_go, threads = threading.Event(), []

    def start(beats: float) -> threading.Event:
        held = threading.Event()
        threads.append(threading.Thread(target=_hold, args=(tmp_path / "lock", beats, held, let_go)))
        threads[0].start()
        assert held.wait(10)
        return let_go

    yield start
    let_go.set()
    threads[0].join()


def test_a_holder_is_waited_for_while_it_makes_progress_and_no_longer(
    holder: Callable[[float], threading.Event], tmp_path: Path
) -> None:
    holder(1.0)
    began_s = time.monotonic()
    with (
        pytest.raises(DataError, match=r"process \d+ on .*, decoding cats since .* UTC, holds .*lock and has made no"),
        file_lock(tmp_path / "lock", "testing", stalled_s=0.5),
    ):
        pass
    assert 1.4 <= time.monotonic() - began_s < 5.0


def test_who_waits_for_long_is_told_for_whom_and_gets_the_lock_when_it_is_free(
    holder: Callable[[float], threading.Event],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(locking, "TELL_AFTER_S", 0.2)
    threading.Timer(0.6, holder(0.0).set).start()
    with file_lock(tmp_path / "lock", "testing"):
        pass
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"waiting for process {os.getpid()} on ")
    assert ", decoding cats since " in line


def test_work_that_cannot_tell_counts_as_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "_BEAT_EVERY_S", 0.05)
    path = tmp_path / "lock"
    with file_lock(path, "testing") as progress:
        before_ns = path.stat().st_mtime_ns
        with beating(progress):
            deadline_s = time.monotonic() + 10.0
            while path.stat().st_mtime_ns == before_ns:
                assert time.monotonic() < deadline_s
                time.sleep(0.02)


def test_what_others_wrote_into_the_file_does_not_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("w+") as other:
        other.write("\x1b[2J\n" + "x" * 1000)
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DataError, match=r"^\?\[2J\?x{195}, holds "), file_lock(path, "testing", stalled_s=0.1):
            pass
