"""Filling the cache: what is left out, and what an interruption leaves to the next."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tuner.errors import DataError
from tuner.training import decoding, pictures, reading
from tuner.training.cache import describe, open_cached
from tuner.training.dataspec import DataSpec

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded from here on."""
    names: list[str] = []
    real = pictures.decode

    def counted(path: Path, side: int, channels: int) -> np.ndarray:
        names.append("/".join(path.parts[-3:]))
        return real(path, side, channels)

    monkeypatch.setattr(pictures, "decode", counted)
    monkeypatch.setattr(reading, "_PIECE", 4)
    monkeypatch.setattr(decoding, "_CHECKPOINT_EVERY_S", 0.0)
    return names


@pytest.fixture
def pets(make_folder) -> Path:
    return make_folder({"train/cat": 20, "train/dog": 20, "val/cat": 3, "test/cat": 2, "test/dog": 2})


def _folders(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_dir()]


def test_files_that_hold_no_picture_are_left_out_and_named(pets: Path, tmp_path: Path) -> None:
    (pets / "train/cat/empty.jpg").touch()
    (pets / "train/dog/page.png").write_text("<html>")
    cut = (pets / "train/dog/003.png").read_bytes()[:-40]
    (pets / "val/cat/cut.png").write_bytes(cut)
    (pets / "train/dog/readme.txt").write_text("about")
    info = describe(DataSpec(str(pets), ""), tmp_path / "cache")
    (note,) = info.notes
    assert note.startswith(
        "left out: 4 files that are no pictures: train/cat/empty.jpg (empty), train/dog/page.png (not a picture), "
    )
    assert "val/cat/cut.png (" in note
    assert " and 1 more (" in note
    assert (info.train_size, info.val_size) == (40, 3)
    for path in ("train/cat/empty.jpg", "train/dog/page.png", "val/cat/cut.png", "train/dog/readme.txt"):
        (pets / path).unlink()
    clean = describe(DataSpec(str(pets), ""), tmp_path / "cache")
    assert clean.notes == ()
    assert clean.fingerprint == info.fingerprint, "the same pictures, the same data set"


@pytest.mark.parametrize("bad", ["train/cat/empty.jpg", "val/cat/notes.txt"])
def test_a_strict_search_refuses_such_a_file_also_after_it_was_decoded(pets: Path, tmp_path: Path, bad: str) -> None:
    (pets / bad).touch()
    describe(DataSpec(str(pets), ""), tmp_path / "cache")
    with pytest.raises(DataError, match=rf"has 1 file that is no picture: {bad} \(.*leave out --strict-data"):
        describe(DataSpec(str(pets), "", strict=True), tmp_path / "cache")


def test_a_class_that_has_too_few_whole_pictures_is_refused_by_its_name(make_folder, tmp_path: Path) -> None:
    root = make_folder({"train/cat": 4, "train/dog": 3, "test/cat": 1})
    (root / "train/dog/001.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"class 'dog' .* has 2 training pictures that can be read \(1 file cannot\)"):
        describe(DataSpec(str(root), ""), tmp_path / "cache")


def test_without_a_single_picture_the_first_file_is_named(make_folder, tmp_path: Path) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3, "test/cat": 1})
    for path in (root / "train").rglob("*.png"):
        path.write_bytes(b"no")
    with pytest.raises(DataError, match=r"none of the 6 files is a picture, such as .*cat/000\.png \(not a picture\)"):
        describe(DataSpec(str(root), ""), tmp_path / "cache")
    assert _folders(tmp_path / "cache") == []


def test_an_interrupted_decoding_goes_on_where_it_stopped(pets: Path, tmp_path: Path, decoded, monkeypatch) -> None:
    (pets / "train/cat/005.png").write_bytes(b"broken")
    spec = DataSpec(str(pets), "")

    def interrupted(what: str, done: int, total: int) -> None:
        if what == "decoding" and done == 24:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        describe(spec, tmp_path / "cache", interrupted)
    (partial,) = _folders(tmp_path / "cache")
    assert json.loads((partial / "state.json").read_text())["done"] == 24
    decoded.clear()
    seen: list[tuple[str, int, int]] = []
    resumed = open_cached(spec, tmp_path / "cache", lambda *words: seen.append(words))
    assert len(decoded) == 43 - 24
    assert seen[0] == ("decoding", 28, 43), "the sizes are not read again"
    assert [path for path, _ in resumed.skipped] == ["train/cat/005.png"]
    whole = open_cached(spec, tmp_path / "other")
    assert resumed.fingerprint == whole.fingerprint
    assert np.array_equal(resumed.digests, whole.digests)
    assert [sorted(path.name for path in folder.iterdir()) for folder in _folders(tmp_path / "cache")] == [
        ["digests.npy", "images.npy", "labels.npy", "meta.json"]
    ]


def test_what_was_decoded_is_kept_when_the_process_ends_while_checking(pets, tmp_path, decoded, monkeypatch) -> None:
    spec = DataSpec(str(pets), "")

    def interrupted(what: str, done: int, total: int) -> None:
        if what == "checking":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        describe(spec, tmp_path / "cache", interrupted)
    decoded.clear()
    fingerprint = describe(spec, tmp_path / "cache").fingerprint
    assert decoded == []
    assert fingerprint == describe(spec, tmp_path / "other").fingerprint


DAMAGES = {
    "no state": lambda folder: (folder / "state.json").unlink(),
    "half a state": lambda folder: (folder / "state.json").write_text('{"side": 32, "cha'),
    "a state of another kind": lambda folder: (folder / "state.json").write_text("[1, 2]"),
    "more done than there is": lambda folder: (folder / "state.json").write_text(
        '{"side": 32, "channels": 3, "done": 9999, "unreadable": []}'
    ),
    "no pictures": lambda folder: (folder / "decoded.npy").unlink(),
    "truncated pictures": lambda folder: os.truncate(folder / "decoded.npy", 5000),
    "pictures of another size": lambda folder: np.save(folder / "decoded.npy", np.zeros((43, 8, 8, 3), np.uint8)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_half_that_cannot_be_gone_on_with_is_decoded_anew(pets, tmp_path, decoded, damage: str) -> None:
    spec = DataSpec(str(pets), "")

    def interrupted(what: str, done: int, total: int) -> None:
        if what == "decoding" and done == 24:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        describe(spec, tmp_path / "cache", interrupted)
    DAMAGES[damage](_folders(tmp_path / "cache")[0])
    decoded.clear()
    assert describe(spec, tmp_path / "cache") == describe(spec, tmp_path / "other")
    assert len(decoded) == 43 + 43


def test_a_picture_that_changes_while_it_is_decoded_is_noticed(pets: Path, tmp_path: Path) -> None:
    def change(what: str, done: int, total: int) -> None:
        if what == "decoding":
            os.utime(pets / "train/cat/007.png", ns=(0, 0))

    with pytest.raises(DataError, match=r"pictures in .*Pets 2 changed while they were decoded: try again"):
        describe(DataSpec(str(pets), ""), tmp_path / "cache", change)
    assert _folders(tmp_path / "cache") == []


KILLED = """
import sys
from pathlib import Path
from tuner.training import cache, decoding, reading
from tuner.training.dataspec import DataSpec

reading._PIECE = 4
decoding._CHECKPOINT_EVERY_S = 0.0
real = decoding.decode_into
def half(*arguments, **options):
    for number, item in enumerate(real(*arguments, **options)):
        if number == 5:
            print("half", flush=True)
            sys.stdin.readline()
        yield item
decoding.decode_into = half
cache.describe(DataSpec(sys.argv[1], ""), Path(sys.argv[2]))
"""


@pytest.mark.timeout(60)
def test_after_kill_9_the_first_half_is_not_decoded_again(pets: Path, tmp_path: Path, decoded) -> None:
    arguments = [sys.executable, "-c", KILLED, str(pets), str(tmp_path / "cache")]
    with subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "half\n"
        process.kill()
    fingerprint = describe(DataSpec(str(pets), ""), tmp_path / "cache").fingerprint
    assert len(decoded) == 43 - 20
    assert "train/cat/000.png" not in decoded
    shutil.rmtree(tmp_path / "cache")
    assert describe(DataSpec(str(pets), ""), tmp_path / "cache").fingerprint == fingerprint


def test_named_data_sets_are_enlarged_piece_by_piece_to_the_same_pictures(tmp_path: Path, monkeypatch) -> None:
    spec = DataSpec("digits", str(tmp_path), image_size=12)
    whole = describe(spec, tmp_path / "cache")
    monkeypatch.setattr(decoding, "_RESIZED_AT_ONCE", 100)
    assert describe(spec, tmp_path / "other") == whole
