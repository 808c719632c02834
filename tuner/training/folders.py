"""Folders of pictures: which files are training, validation and test. Lists names; opens no picture.

    FOLDER/train/<class>/*  [FOLDER/val/<class>/*]  [FOLDER/test/<class>/*]     or     FOLDER/<class>/*

The test split is `test/`, else `val/`, else 15 % of each class, chosen by file name. Nothing below `test/` (or below
a `val/` that serves as the test split) is listed here: that is for `testsplit` alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tuner.errors import DataError, UsageError
from tuner.training.dataspec import is_folder
from tuner.training.files import SET_ASIDE_SOURCE, FileSource, Picture, refuse_small_classes, set_test_aside
from tuner.training.pixels import SUFFIXES

# What file managers leave behind; nobody takes it for a picture.
_LITTER = frozenset({"thumbs.db", "desktop.ini"})


class Listing(NamedTuple):
    """The files of a split, by their suffix: its pictures, and the others' paths."""

    pictures: tuple[Picture, ...]
    others: tuple[str, ...]


def open_folder(root: Path) -> FileSource:
    """List the training side of `root`.

    Raises UsageError if there is no such folder or it holds no data set, DataError if it has fewer than two classes
    or a class with fewer than 3 training pictures.
    """
    if not is_folder(root):
        raise UsageError(f"no folder {root}")
    present = {split for split in ("train", "val", "test") if is_folder(root / split)}
    if present and "train" not in present:
        raise UsageError(f"{root} has {'/ and '.join(sorted(present))}/ but no train/: put the training pictures there")
    train_root = root / "train" if present else root
    classes = class_folders(train_root)
    if len(classes) < 2:
        raise DataError(f"{train_root} has {len(classes)} class folders: at least 2 are needed")
    train, others = list_split(root, train_root, classes)
    val: tuple[Picture, ...] = ()
    set_aside: tuple[Picture, ...] = ()
    test_folder: str | None = None
    if "test" in present:
        test_folder, test_source = "test", "the data set's own test/ folder"
        if "val" in present:
            val, beside_val = list_split(root, root / "val", classes)
            others += beside_val
    elif "val" in present:
        test_folder, test_source = "val", "the data set's val/ folder (it has no test/)"
    else:
        test_source = SET_ASIDE_SOURCE
        train, set_aside = set_test_aside(train)
    left = " left after the test split was set aside" if set_aside else ""
    refuse_small_classes(root, classes, (picture.label for picture in train), left, f" ({', '.join(sorted(SUFFIXES))})")
    return FileSource(root, classes, train, val, set_aside, test_folder, test_source, others)


def class_folders(split_root: Path) -> tuple[str, ...]:
    """Names of the folders in `split_root`, sorted; hidden ones are no classes. Raises DataError if it cannot be
    listed."""
    try:
        with os.scandir(split_root) as entries:
            return tuple(sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")))
    except OSError as error:
        raise DataError(f"cannot list {split_root}: {error.strerror or error}") from error


def list_split(root: Path, split_root: Path, classes: tuple[str, ...]) -> Listing:
    """The files in the class folders of `split_root`, sorted, with paths below `root`; hidden files are none of them.

    Raises DataError if a folder cannot be listed, or a class is not one of `classes`.
    """
    unknown = sorted(set(class_folders(split_root)) - set(classes))
    if unknown:
        raise DataError(f"{split_root} has the class {unknown[0]!r}, which is not in train/")
    pictures, others = [], []
    for label, name in enumerate(classes):
        for path in _files(root, split_root / name):
            if os.path.splitext(path)[1].lower() in SUFFIXES:
                pictures.append(Picture(path, label))
            else:
                others.append(path)
    return Listing(tuple(pictures), tuple(others))


def _files(root: Path, folder: Path) -> Iterator[str]:
    """The paths below `root` of the files in `folder` and below, sorted. An absent folder has none.

    A start of a search lists every picture; a `Path` for each would take most of that time.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise DataError(f"cannot list {error.filename}: {error.strerror or error}") from error

    for parent, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = str(Path(parent).relative_to(root))
        for name in sorted(files):
            if not name.startswith(".") and name.lower() not in _LITTER:
                yield f"{below}/{name}"
