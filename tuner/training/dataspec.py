"""Which data set a study uses, and what is known of it once it is decoded. Needs neither torch nor the data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tuner.errors import DataError, UsageError

NAMED = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "svhn")
"""The data sets that have a name of their own; every other data set is a folder or a CSV file."""

_IMAGE_SIZE = (4, 1024)
_VAL_FRACTION = (0.01, 0.5)
_MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class DataSpec:
    """A data set and how it is split; the same spec gives the same splits on every machine that has the same files.

    dataset: one of `NAMED`, or the absolute path of a folder or a CSV file (see `resolve_dataset`).
    data_dir: folder that holds `<name>/train/<class>/...` or downloads of the named data sets; made when needed.
    image_size: side of the square pictures in pixels; None: the arrays' own, for folders 32 if all fit in it, else 64.
    val_fraction: share of each class of the training split held out for validation, where the data set has no
        validation split of its own.
    seed: of that choice.
    strict: refuse the data set if a file in it is no picture that can be read, instead of leaving it out.

    Raises UsageError for a value out of its range.
    """

    dataset: str
    data_dir: str
    image_size: int | None = None
    val_fraction: float = 0.1
    seed: int = 0
    strict: bool = False

    def __post_init__(self) -> None:
        low, high = _IMAGE_SIZE
        if self.image_size is not None and not low <= self.image_size <= high:
            raise UsageError(f"image size {self.image_size} is not allowed: it must be from {low} to {high} pixels")
        if not _VAL_FRACTION[0] <= self.val_fraction <= _VAL_FRACTION[1]:
            raise UsageError(
                f"validation fraction {self.val_fraction} is not allowed: "
                f"it must be from {_VAL_FRACTION[0]} to {_VAL_FRACTION[1]}"
            )
        if not 0 <= self.seed <= _MAX_SEED:
            raise UsageError(f"seed {self.seed} is not allowed: it must be from 0 to {_MAX_SEED}")

    @property
    def default_name(self) -> str:
        """The data set's name as a study name: letters a-z, digits, - and _."""
        if self.dataset in NAMED:
            return self.dataset
        path = Path(self.dataset)
        name = path.stem if is_csv(self.dataset) else path.name
        return re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_") or "folder"

    def as_dict(self) -> dict[str, Any]:
        """All fields, JSON-able."""
        return asdict(self)

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> DataSpec:
        """The inverse of `as_dict`."""
        return cls(**entry)


@dataclass(frozen=True)
class DataInfo:
    """What is known of a data set's training side; it says nothing of the test pictures but where they come from.

    classes: class names in the order of their labels.
    height, width: of a decoded picture in pixels; channels: 1 (grey) or 3 (RGB).
    train_size, val_size: numbers of pictures.
    flip: whether a horizontal flip keeps the class.
    fingerprint: SHA-256 of the decoded training and validation pictures, their labels and classes.
    test_source: where the test split comes from, in words.
    notes: what a person should know before trusting a score, a line each: files left out, copies.
    train_counts: training pictures of each class.
    """

    name: str
    classes: tuple[str, ...]
    height: int
    width: int
    channels: int
    train_size: int
    val_size: int
    flip: bool
    fingerprint: str
    test_source: str
    notes: tuple[str, ...] = ()
    train_counts: tuple[int, ...] = ()


def is_csv(dataset: str) -> bool:
    """Whether `DataSpec.dataset` names a CSV file, by its suffix."""
    return dataset.lower().endswith(".csv")


def is_folder(path: Path) -> bool:
    """Whether there is a folder `path`. Raises DataError if this user may not even ask."""
    try:
        return path.is_dir()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def resolve_dataset(argument: str) -> str:
    """What `DataSpec.dataset` is for what a user typed: a name stays one, a folder or file becomes its absolute path.

    Raises UsageError if it is neither, DataError if the folder is closed to this user.
    """
    if argument in NAMED:
        return argument
    path = Path(argument).expanduser()
    if is_folder(path) or (is_csv(argument) and path.is_file()):
        return str(path.resolve())
    raise no_such_dataset(argument)


def no_such_dataset(dataset: str) -> UsageError:
    """The error for a data set that is not there."""
    return UsageError(
        f"no data set {dataset!r}: give a folder of class folders, a .csv file with the columns file and label, or one "
        f"of {', '.join(NAMED)}"
    )
