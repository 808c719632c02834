"""Many pictures at once: by threads and by processes alike."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tuner.errors import DataError
from tuner.training import helpers, reading
from tuner.training.helpers import Helpers
from tuner.training.reading import decode_into, read_headers

ROOT = Path(__file__).parent.parent.parent
pytestmark = [pytest.mark.timeout(60)]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Helpers]:
    """Two processes are worth it for 8 pictures, in pieces of 4; those that were started."""
    seen: list[Helpers] = []

    class Watched(Helpers):
        def __init__(self, count: int) -> None:
            super().__init__(count)
            seen.append(self)

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(helpers, "_PICTURES_EACH", 4)
    monkeypatch.setattr(helpers, "Helpers", Watched)
    monkeypatch.setattr(reading, "_PIECE", 4)
    monkeypatch.setattr(reading, "_LARGER_FOR_PROCESSES", 1)
    return seen


@pytest.fixture
def paths(make_folder) -> list[Path]:
    root = make_folder({"train/cat": 11, "train/dog": 12})
    (root / "train/dog").rename(root / "train/\udce9 ü")
    (root / "train/cat/004.png").write_bytes(b"")
    (root / "train/cat/005.png").write_bytes(b"no picture")
    return sorted(root.rglob("*.png"))


def _mapped(file: Path, count: int) -> np.memmap:
    return np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(count, 8, 8, 3))


def test_processes_read_and_decode_what_threads_do(paths, tmp_path: Path, started) -> None:
    threads = _mapped(tmp_path / "a.npy", len(paths))
    expected = list(decode_into(threads, paths))
    assert started == []
    processes = _mapped(tmp_path / "b.npy", len(paths))
    assert list(decode_into(processes, paths, file=tmp_path / "b.npy")) == expected
    assert [[item.place for item in unreadable] for _, unreadable in expected] == [[], [4, 5], [], [], [], []]
    assert np.array_equal(threads, processes)
    headers = [header for piece in read_headers(paths) for header in piece]
    assert [header is None for header in headers] == [index in (4, 5) for index in range(len(paths))]
    assert headers[0] == reading.read_header(paths[0])
    assert len(started) == 2
    assert all(process.returncode == 0 for used in started for process in used._all), "they end with the work"


def test_processes_go_on_in_the_middle(paths, tmp_path: Path, started) -> None:
    images = _mapped(tmp_path / "a.npy", len(paths))
    assert [done for done, _ in decode_into(images, paths, start=12, file=tmp_path / "a.npy")] == [16, 20, 23]
    assert images[:12].max() == 0
    assert images[12:].min(axis=(1, 2, 3)).tolist() != [0] * 11


def test_a_file_that_is_gone_is_named(paths, tmp_path: Path, started) -> None:
    paths[9].unlink()
    with pytest.raises(DataError, match=r"cannot read the picture .*cat/009\.png \(No such file"):
        list(decode_into(_mapped(tmp_path / "a.npy", len(paths)), paths, file=tmp_path / "a.npy"))
    assert started


def test_a_process_that_dies_is_an_error_that_says_where(paths, tmp_path: Path) -> None:
    used = Helpers(1)
    used._all[0].kill()
    used._all[0].wait()
    with pytest.raises(
        DataError, match=r"that decodes pictures died \(exit status -9\) at one of the 4 from .*000\.png"
    ):
        used.read_headers(paths[:4])
    used.close()


ORPHANS = """
import sys
from tuner.training.helpers import Helpers
used = Helpers(2)
print(*[process.pid for process in used._all], flush=True)
sys.stdin.readline()
"""


def test_the_processes_end_with_the_one_that_was_killed() -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", ORPHANS], cwd=ROOT, **pipes) as process:
        pids = [int(word) for word in process.stdout.readline().split()]
        process.send_signal(signal.SIGKILL)
    assert len(pids) == 2
    deadline_s = time.monotonic() + 20
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False
