from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuner.errors import DataError
from tuner.training.cache import describe
from tuner.training.data import load_training_data
from tuner.training.dataspec import DataSpec
from tuner.training.folders import open_folder
from tuner.training.named import NamedSource
from tuner.training.testsplit import load_test_split

_touched: list[str] = []
_listening = False


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if _listening and event in ("open", "os.listdir", "os.scandir"):
        _touched.append(str(arguments[0]))


sys.addaudithook(_listen)  # for the life of the process: a hook cannot be removed


@pytest.fixture
def touched() -> Iterator[list[str]]:
    """Every path that this process opens or lists during the test."""
    global _listening
    _touched.clear()
    _listening = True
    yield _touched
    _listening = False


@pytest.mark.parametrize("held_back", ["test", "val"])
def test_the_search_never_opens_or_lists_the_test_folder(make_folder, tmp_path: Path, touched, held_back: str) -> None:
    root = make_folder({"train/cat": 5, "train/dog": 5, f"{held_back}/cat": 2, f"{held_back}/poison": 1})
    (root / held_back / "cat/000.png").write_bytes(b"poison")
    touched.clear()
    spec = DataSpec(str(root), "")
    describe(spec, tmp_path / "cache")
    load_training_data(spec, tmp_path / "cache", "cpu")
    inside = [path for path in touched if path.startswith(str(root / held_back))]
    assert inside == []
    assert str(root / "train/cat/000.png") in touched
    with pytest.raises(DataError):
        load_test_split(spec, tmp_path / "cache")
    assert [path for path in touched if path.startswith(str(root / held_back))] != []


def test_the_search_never_opens_a_picture_that_was_set_aside(make_folder, tmp_path: Path, touched) -> None:
    root = make_folder({"cat": 20, "dog": 20})
    spec = DataSpec(str(root), "", image_size=8)
    set_aside = {str(root / picture.path) for picture in open_folder(root).set_aside}
    touched.clear()
    describe(spec, tmp_path / "cache")
    load_training_data(spec, tmp_path / "cache", "cpu")
    assert len(set_aside) == 6
    assert set_aside.isdisjoint(touched)
    test = load_test_split(spec, tmp_path / "cache")
    assert set_aside <= set(touched)
    assert np.array_equal(test.images, [np.asarray(Image.open(path)) for path in sorted(set_aside)])
    assert test.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_the_search_loads_only_the_training_side_of_a_named_data_set(tmp_path: Path, monkeypatch) -> None:
    sides: list[bool] = []
    real = NamedSource.load

    def load(self: NamedSource, *, train: bool):
        sides.append(train)
        return real(self, train=train)

    monkeypatch.setattr(NamedSource, "load", load)
    spec = DataSpec("digits", str(tmp_path))
    load_training_data(spec, tmp_path / "cache", "cpu")
    assert sides == [True]
    test = load_test_split(spec, tmp_path / "cache")
    assert sides == [True, False]
    assert (test.images.shape, test.labels.shape) == ((359, 8, 8, 1), (359,))


def test_test_pictures_take_the_size_and_channels_of_the_training_pictures(make_folder, tmp_path: Path) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3}, mode="L")
    make_folder({"test/dog": 2}, size=(50, 40), mode="RGB")
    test = load_test_split(DataSpec(str(root), ""), tmp_path / "cache")
    assert (test.images.shape, test.labels.tolist()) == ((2, 32, 32, 1), [1, 1])


def test_a_test_folder_without_pictures_is_refused(make_folder, tmp_path: Path) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3, "test/cat": 0})
    with pytest.raises(DataError, match="has no pictures"):
        load_test_split(DataSpec(str(root), ""), tmp_path / "cache")


def test_broken_test_pictures_are_left_out_and_named_or_refused(make_folder, tmp_path: Path) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3, "test/cat": 3, "test/dog": 2}, size=(32, 32))
    (root / "test/cat/001.png").write_bytes(b"")
    (root / "test/dog/notes.txt").touch()
    test = load_test_split(DataSpec(str(root), ""), tmp_path / "cache")
    assert test.paths == ("test/cat/000.png", "test/cat/002.png", "test/dog/000.png", "test/dog/001.png")
    assert test.labels.tolist() == [0, 0, 1, 1]
    assert np.array_equal(test.images, [np.asarray(Image.open(root / path)) for path in test.paths])
    assert test.skipped == (("test/cat/001.png", "empty"),)
    assert test.others == ("test/dog/notes.txt",)
    with pytest.raises(DataError, match=r"has 2 files that are no pictures: test/cat/001\.png \(empty\), "):
        load_test_split(DataSpec(str(root), "", strict=True), tmp_path / "cache")


def test_the_test_lines_of_a_csv_file_are_not_opened_by_the_search(make_folder, tmp_path: Path, touched) -> None:
    root = make_folder({"cat": 5, "dog": 5})
    rows = [f"{name}/{n:03d}.png,{name},{'test' if n == 4 else 'train'}" for name in ("cat", "dog") for n in range(5)]
    (root / "labels.csv").write_text("file,label,split\n" + "\n".join(rows))
    touched.clear()
    spec = DataSpec(str(root / "labels.csv"), "")
    load_training_data(spec, tmp_path / "cache", "cpu")
    assert [path for path in touched if path.endswith("004.png")] == []
    assert str(root / "cat/003.png") in touched
    assert load_test_split(spec, tmp_path / "cache").paths == ("cat/004.png", "dog/004.png")


def test_the_decoded_test_pictures_leave_nothing_in_the_cache(make_folder, tmp_path: Path) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3, "test/cat": 2})
    spec = DataSpec(str(root), "")
    describe(spec, tmp_path / "cache")
    before = sorted((tmp_path / "cache").rglob("*"))
    images = load_test_split(spec, tmp_path / "cache").images
    assert images.max() > 0
    assert sorted((tmp_path / "cache").rglob("*")) == before
