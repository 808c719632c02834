"""Folders of pictures: which files are training, validation and test. Lists names; opens no picture.

    FOLDER/train/<class>/*  [FOLDER/val/<class>/*]  [FOLDER/test/<class>/*]     or     FOLDER/<class>/*

The test split is `test/`, else `val/`, else 15 % of each class, chosen by file name. Nothing below `test/` (or below
a `val/` that serves as the test split) is listed here: that is for `testsplit` alone.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tuner.errors import DataError, UsageError
from tuner.training.dataspec import is_folder
from tuner.training.splits import held_out_names

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
MIN_TRAIN_PER_CLASS = 3
SET_ASIDE = 0.15


class Picture(NamedTuple):
    """A picture that has not been opened: its path below the data set's folder, and its label."""

    path: str
    label: int


@dataclass(frozen=True)
class FolderSource:
    """A folder's training side, and where its test side is.

    val: the folder's own validation split; empty if it has none and one must be held out of `train`.
    set_aside: the test split where the folder has none; never opened before the export.
    test_folder: name of the test split's folder, or None where `set_aside` is the test split.
    """

    root: Path
    classes: tuple[str, ...]
    train: tuple[Picture, ...]
    val: tuple[Picture, ...]
    set_aside: tuple[Picture, ...]
    test_folder: str | None
    test_source: str

    def files_key(self) -> str:
        """SHA-256 of path, size and time of change of each training and validation picture.

        Raises DataError if one is gone.
        """
        digest = hashlib.sha256()
        for picture in (*self.train, *self.val):
            try:
                status = os.stat(self.root / picture.path)
            except OSError as error:
                raise DataError(f"cannot read {self.root / picture.path}: {error.strerror}") from error
            line = f"{picture.path}\0{status.st_size}\0{status.st_mtime_ns}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def open_folder(root: Path) -> FolderSource:
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
    train = _list_split(root, train_root, classes)
    val: tuple[Picture, ...] = ()
    set_aside: tuple[Picture, ...] = ()
    test_folder: str | None = None
    if "test" in present:
        test_folder, test_source = "test", "the data set's own test/ folder"
        if "val" in present:
            val = _list_split(root, root / "val", classes)
    elif "val" in present:
        test_folder, test_source = "val", "the data set's val/ folder (it has no test/)"
    else:
        test_source = f"{SET_ASIDE:.0%} of each class, set aside by file name before the search (no test/ or val/)"
        held = frozenset[str]().union(
            *(
                held_out_names([picture.path for picture in train if picture.label == label], SET_ASIDE)
                for label in range(len(classes))
            )
        )
        set_aside = tuple(picture for picture in train if picture.path in held)
        train = tuple(picture for picture in train if picture.path not in held)
    _check_counts(root, classes, train, bool(set_aside))
    return FolderSource(root, classes, train, val, set_aside, test_folder, test_source)


def class_folders(split_root: Path) -> tuple[str, ...]:
    """Names of the folders in `split_root`, sorted; hidden ones are no classes. Raises DataError if it cannot be
    listed."""
    try:
        with os.scandir(split_root) as entries:
            return tuple(sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")))
    except OSError as error:
        raise DataError(f"cannot list {split_root}: {error.strerror or error}") from error


def list_pictures(folder: Path) -> Iterator[Path]:
    """The pictures in `folder` and below, by their suffix, sorted; hidden files are none. An absent folder has none.

    Raises DataError if a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise DataError(f"cannot list {error.filename}: {error.strerror or error}") from error

    for parent, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield Path(parent, name)


def _list_split(root: Path, split_root: Path, classes: tuple[str, ...]) -> tuple[Picture, ...]:
    unknown = sorted(set(class_folders(split_root)) - set(classes))
    if unknown:
        raise DataError(f"{split_root} has the class {unknown[0]!r}, which is not in train/")
    return tuple(
        Picture(str(path.relative_to(root)), label)
        for label, name in enumerate(classes)
        for path in list_pictures(split_root / name)
    )


def _check_counts(root: Path, classes: tuple[str, ...], train: tuple[Picture, ...], after_set_aside: bool) -> None:
    counts = [0] * len(classes)
    for picture in train:
        counts[picture.label] += 1
    for name, count in zip(classes, counts, strict=True):
        if count < MIN_TRAIN_PER_CLASS:
            left = " left after the test split was set aside" if after_set_aside else ""
            raise DataError(
                f"class {name!r} of {root} has {count} training pictures{left}: at least {MIN_TRAIN_PER_CLASS} "
                f"are needed ({', '.join(sorted(SUFFIXES))})"
            )
