from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

import pytest

from tuner.training.locking import file_lock


def _try_lock(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def test_a_held_lock_keeps_others_out_until_it_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with file_lock(path), pytest.raises(BlockingIOError):
        _try_lock(path)
    _try_lock(path)


def test_an_error_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with contextlib.suppress(KeyError), file_lock(path):
        raise KeyError
    _try_lock(path)
