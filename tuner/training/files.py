"""A data set that consists of picture files: which are training, validation and test. Opens no picture."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tuner.errors import DataError
from tuner.training.remarks import plural
from tuner.training.splits import held_out_names

MIN_TRAIN_PER_CLASS = 3
SET_ASIDE = 0.15
SET_ASIDE_SOURCE = f"{SET_ASIDE:.0%} of each class, set aside by file name before the search (there is no test split)"


class Picture(NamedTuple):
    """A picture that has not been opened: its path below the data set's folder, and its label."""

    path: str
    label: int


@dataclass(frozen=True)
class FileSource:
    """The training side of a folder or a CSV file, and where its test side is.

    root: the folder that all paths are below.
    val: the data set's own validation split; empty if it has none and one must be held out of `train`.
    set_aside: the test split where it is no folder of its own; never opened before the export.
    test_folder: name of the test split's folder, or None where `set_aside` is the test split.
    others: files beside the training pictures whose names are not those of pictures.
    """

    root: Path
    classes: tuple[str, ...]
    train: tuple[Picture, ...]
    val: tuple[Picture, ...]
    set_aside: tuple[Picture, ...]
    test_folder: str | None
    test_source: str
    others: tuple[str, ...] = ()

    @property
    def training_side(self) -> tuple[Picture, ...]:
        """The training pictures, then those of the data set's own validation split."""
        return (*self.train, *self.val)

    def files_key(self) -> str:
        """SHA-256 of the classes and of path, label, size and time of change of each training and validation picture.

        Raises DataError if one is gone.
        """
        digest = hashlib.sha256(json.dumps([self.classes, len(self.val)]).encode())
        root = str(self.root)  # joining as `Path` would take longer than all else here
        for picture in self.training_side:
            try:
                status = os.stat(os.path.join(root, picture.path))
            except OSError as error:
                raise DataError(f"cannot read {self.root / picture.path}: {error.strerror}") from error
            line = f"{picture.path}\0{picture.label}\0{status.st_size}\0{status.st_mtime_ns}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def set_test_aside(train: Sequence[Picture]) -> tuple[tuple[Picture, ...], tuple[Picture, ...]]:
    """Split into (training, test) pictures, both in their order; 15 % of each class become test, chosen by name."""
    by_label: dict[int, list[str]] = {}
    for picture in train:
        by_label.setdefault(picture.label, []).append(picture.path)
    held = frozenset[str]().union(*(held_out_names(names, SET_ASIDE) for names in by_label.values()))
    return (
        tuple(picture for picture in train if picture.path not in held),
        tuple(picture for picture in train if picture.path in held),
    )


def refuse_small_classes(
    where: Path | str, classes: Sequence[str], labels: Iterable[int], left: str = "", hint: str = ""
) -> None:
    """Raise DataError naming a class with fewer than 3 of `labels`, the training pictures'. left: which of its
    training pictures were counted, in words; hint: how the line ends."""
    counts = [0] * len(classes)
    for label in labels:
        counts[label] += 1
    for name, count in zip(classes, counts, strict=True):
        if count < MIN_TRAIN_PER_CLASS:
            raise DataError(
                f"class {name!r} of {where} has {plural(count, 'training picture')}{left}: at least "
                f"{MIN_TRAIN_PER_CLASS} are needed{hint}"
            )
