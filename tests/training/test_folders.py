from __future__ import annotations

import os
from pathlib import Path

import pytest

from tuner.errors import DataError, UsageError
from tuner.training.folders import Picture, open_folder


def test_train_val_and_test_each_keep_their_part(make_folder) -> None:
    root = make_folder({f"{split}/{name}": 3 for split in ("train", "val", "test") for name in ("cat", "dog")})
    source = open_folder(root)
    assert source.classes == ("cat", "dog")
    assert source.train == tuple(
        Picture(f"train/{name}/{n:03d}.png", label) for label, name in enumerate(("cat", "dog")) for n in range(3)
    )
    assert [picture.path.split("/")[0] for picture in source.val] == ["val"] * 6
    assert (source.set_aside, source.test_folder) == ((), "test")
    assert source.test_source == "the data set's own test/ folder"


def test_without_test_the_validation_folder_is_the_test_split(make_folder) -> None:
    source = open_folder(make_folder({"train/cat": 3, "train/dog": 3, "val/cat": 1}))
    assert (source.val, source.set_aside, source.test_folder) == ((), (), "val")
    assert "val/" in source.test_source


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_with_neither_15_percent_of_each_class_are_set_aside(make_folder, prefix: str) -> None:
    root = make_folder({f"{prefix}cat": 20, f"{prefix}dog": 40})
    source = open_folder(root)
    assert [sum(picture.label == label for picture in source.set_aside) for label in (0, 1)] == [3, 6]
    assert len(source.train) == 51
    assert not set(source.train) & set(source.set_aside)
    assert "15%" in source.test_source
    assert open_folder(root) == source


def test_only_pictures_count_and_hidden_things_do_not(make_folder) -> None:
    root = make_folder({"train/cat/deep": 3, "train/dog": 3, "train/.git": 1, "test/cat": 1})
    for name in ("notes.txt", ".hidden.png", "Thumbs.db"):
        (root / "train/cat" / name).write_bytes(b"x")
    source = open_folder(root)
    assert source.classes == ("cat", "dog")
    assert [picture.path for picture in source.train if picture.label == 0] == [
        f"train/cat/deep/{n:03d}.png" for n in range(3)
    ]


@pytest.mark.parametrize("change", ["touch", "grow", "remove", "add"])
def test_any_change_of_the_training_side_changes_the_key_of_its_files(make_folder, change: str) -> None:
    root = make_folder({"train/cat": 4, "train/dog": 4, "test/cat": 1})
    before = open_folder(root).files_key()
    picture = root / "train/cat/000.png"
    status = picture.stat()
    if change == "touch":
        os.utime(picture, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    elif change == "grow":
        picture.write_bytes(picture.read_bytes() + b"x")
        os.utime(picture, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "remove":
        picture.unlink()
    else:
        picture.with_name("new.png").write_bytes(picture.read_bytes())
    assert open_folder(root).files_key() != before


def test_the_test_side_is_no_part_of_the_key(make_folder) -> None:
    root = make_folder({"train/cat": 4, "train/dog": 4, "test/cat": 1})
    before = open_folder(root).files_key()
    (root / "test/cat/000.png").write_bytes(b"changed")
    assert open_folder(root).files_key() == before


def test_a_folder_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        open_folder(tmp_path / "absent")


@pytest.mark.parametrize(
    ("counts", "error", "message"),
    [
        ({"test/cat": 3, "val/cat": 3}, UsageError, "has test/ and val/ but no train/"),
        ({"train/cat": 3}, DataError, "has 1 class folders: at least 2"),
        (
            {"train/cat": 3, "train/dog": 2, "test/cat": 1},
            DataError,
            "class 'dog' .* has 2 training pictures: at least 3",
        ),
        ({"cat": 9, "dog": 3}, DataError, "class 'dog' .* has 2 training pictures left after the test split"),
        ({"train/cat": 3, "train/dog": 3, "val/cow": 1, "test/cat": 1}, DataError, "the class 'cow', which is not in"),
    ],
)
def test_an_unusable_folder_is_refused_with_the_reason(make_folder, counts, error, message) -> None:
    with pytest.raises(error, match=message):
        open_folder(make_folder(counts))


@pytest.mark.parametrize("unreadable", ["train", "train/cat"])
def test_a_folder_that_cannot_be_listed_is_named(make_folder, monkeypatch, unreadable: str) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3, "test/cat": 1})
    scandir = os.scandir

    def guarded(path: str | Path):
        if Path(path) == root / unreadable:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(DataError, match=f"cannot list {root / unreadable}: Permission denied"):
        open_folder(root)
