from __future__ import annotations

import errno
import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuner.errors import DataError
from tuner.training import cache, decoding
from tuner.training.cache import describe, open_cached
from tuner.training.dataspec import DataInfo, DataSpec
from tuner.training.folders import open_folder
from tuner.training.locking import file_lock


def test_a_folder_is_described_by_what_was_decoded(make_folder, tmp_path: Path) -> None:
    root = make_folder({"train/cat": 10, "train/dog": 20, "test/cat": 1}, size=(40, 30))
    info = describe(DataSpec(str(root), ""), tmp_path / "cache")
    assert len(info.fingerprint) == 64
    assert info == DataInfo(
        name="pets-2",
        classes=("cat", "dog"),
        height=64,
        width=64,
        channels=3,
        train_size=27,
        val_size=3,
        flip=True,
        fingerprint=info.fingerprint,
        test_source="the data set's own test/ folder",
        train_counts=(9, 18),
    )


def test_the_decoded_pictures_are_the_files_in_order(make_folder, tmp_path: Path) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3, "val/dog": 2, "test/cat": 1}, size=(8, 8), mode="L")
    spec = DataSpec(str(root), "", image_size=8)
    cached = open_cached(spec, tmp_path / "cache")
    source = open_folder(root)
    expected = [np.asarray(Image.open(root / picture.path)) for picture in (*source.train, *source.val)]
    assert np.array_equal(cached.images[..., 0], expected)
    assert cached.labels.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    assert [part.tolist() for part in cached.split(spec)] == [[0, 1, 2, 3, 4, 5], [6, 7]]


def test_copies_of_a_folder_have_the_same_fingerprint_until_a_pixel_differs(make_folder, tmp_path: Path) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3, "test/cat": 1})
    copy = tmp_path / "elsewhere" / root.name
    shutil.copytree(root, copy, copy_function=shutil.copyfile)  # without the times of change
    fingerprint = describe(DataSpec(str(root), ""), tmp_path / "cache").fingerprint
    assert describe(DataSpec(str(copy), ""), tmp_path / "cache").fingerprint == fingerprint
    picture = copy / "train/cat/000.png"
    pixels = np.asarray(Image.open(picture)).copy()
    pixels[0, 0] ^= 255
    Image.fromarray(pixels).save(picture)
    assert describe(DataSpec(str(copy), ""), tmp_path / "cache").fingerprint != fingerprint


def test_pictures_are_decoded_once_and_again_only_when_they_change(make_folder, tmp_path: Path, monkeypatch) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3, "test/cat": 1})
    decoded: list[int] = []
    real = decoding.decode_into

    def counted(images, paths, *rest, start, file):
        decoded.append(len(paths) - start)
        return real(images, paths, *rest, start=start, file=file)

    monkeypatch.setattr(decoding, "decode_into", counted)
    spec = DataSpec(str(root), "")
    for _ in range(2):
        describe(spec, tmp_path / "cache")
    assert decoded == [6]
    os.utime(root / "train/cat/000.png", ns=(0, 0))
    describe(spec, tmp_path / "cache")
    assert decoded == [6, 6]


def test_another_seed_shares_the_decoded_pictures_but_not_the_split(tmp_path: Path) -> None:
    first, second = (DataSpec("digits", str(tmp_path), seed=seed) for seed in (0, 1))
    splits = [open_cached(spec, tmp_path / "cache").split(spec)[1].tolist() for spec in (first, second)]
    assert splits[0] != splits[1]
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 1


def test_a_failed_decoding_leaves_nothing_that_looks_whole(make_folder, tmp_path: Path, monkeypatch) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3, "test/cat": 1})
    spec = DataSpec(str(root), "")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(decoding, "_digest", full)
        with pytest.raises(DataError, match=r"cannot write .*: No space left on device"):
            describe(spec, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    assert describe(spec, tmp_path / "cache").train_size == 4


def test_an_unwritable_cache_is_one_line_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(DataError, match=r"cannot write the decoded data set to .*cache"):
        describe(DataSpec("digits", str(tmp_path)), tmp_path / "cache")


def test_a_damaged_cache_says_what_to_delete(tmp_path: Path) -> None:
    spec = DataSpec("digits", str(tmp_path))
    describe(spec, tmp_path / "cache")
    (meta,) = (tmp_path / "cache").glob("*/meta.json")
    meta.write_text("{")
    with pytest.raises(DataError, match=f"{meta.parent} is damaged .*: delete that folder"):
        describe(spec, tmp_path / "cache")


_START_TOGETHER = """
import json, sys
from pathlib import Path
from tuner.training import cache
from tuner.training.dataspec import DataSpec
real = cache.build
def build(*arguments):
    print("built")
    real(*arguments)
cache.build = build
sys.stdin.readline()
cached = cache.open_cached(DataSpec(sys.argv[1], ""), Path(sys.argv[2]))
print(json.dumps([list(cached.images.shape), int(cached.images.sum())]))
"""


def test_of_many_processes_that_start_together_one_decodes(make_folder, tmp_path: Path) -> None:
    root = make_folder({"train/cat": 60, "train/dog": 60, "test/cat": 1})
    arguments = [sys.executable, "-c", _START_TOGETHER, str(root), str(tmp_path / "cache")]
    processes = [
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    lines = [process.communicate()[0].split("\n") for process in processes]
    assert sum(line == "built" for output in lines for line in output) == 1
    results = {output[-2] for output in lines}
    assert len(results) == 1
    assert json.loads(results.pop())[0] == [120, 32, 32, 3]


_STOPS_WHILE_DECODING = """
import os, signal, sys
from pathlib import Path
from tuner.training import cache, decoding
from tuner.training.dataspec import DataSpec
decoding.decode_into = lambda *_, **__: os.kill(os.getpid(), signal.SIGSTOP)
cache.open_cached(DataSpec(sys.argv[1], ""), Path(sys.argv[2]))
"""


def test_a_decoder_that_was_stopped_is_named_instead_of_waited_for_without_end(
    make_folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3, "test/cat": 1})
    command = [sys.executable, "-c", _STOPS_WHILE_DECODING, str(root), str(tmp_path / "cache")]
    with subprocess.Popen(command) as decoder:
        try:
            os.waitid(os.P_PID, decoder.pid, os.WSTOPPED)
            monkeypatch.setattr(cache, "file_lock", functools.partial(file_lock, stalled_s=0.3))
            with pytest.raises(DataError, match=rf"^process {decoder.pid} on .*, decoding pets-2 since .* UTC, holds "):
                describe(DataSpec(str(root), ""), tmp_path / "cache")
        finally:
            decoder.kill()
    assert describe(DataSpec(str(root), ""), tmp_path / "cache").train_size == 4
