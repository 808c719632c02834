"""Pictures with their classes, to measure an exported model on: a folder of class folders, or a CSV file.

The layouts are those of training (`training.folders`, `training.csvfile`), read for their test pictures alone: `test/`,
else `val/`; the CSV lines whose split is test, else val. Without splits all pictures are taken. Opens no picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tuner.errors import DataError, UsageError
from tuner.training.csvfile import read_rows
from tuner.training.dataspec import is_csv, is_folder
from tuner.training.folders import class_folders, list_split
from tuner.training.remarks import shown


class Labelled(NamedTuple):
    """paths: of N pictures; labels: the place of each one's class in the model's; which: of what the data set has."""

    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    which: str


def list_labelled(place: Path, classes: Sequence[str]) -> Labelled:
    """The pictures at `place` in classes of the model, whose names are `classes`; not all need to be there.

    Raises UsageError if there is no such folder or file, or it has a class that the model has not; DataError if it
    cannot be read, or has no pictures.
    """
    if is_folder(place):
        found = _folder(place, classes)
    elif is_csv(str(place)) and place.is_file():
        found = _csv(place, classes)
    else:
        raise UsageError(
            f"{place} is neither a folder of class folders nor a .csv file with the columns file and label"
        )
    if not found.paths:
        raise DataError(f"{place} has no pictures in class folders: there is nothing to measure the model on")
    return found


def _folder(place: Path, classes: Sequence[str]) -> Labelled:
    split = next((name for name in ("test", "val") if is_folder(place / name)), "")
    if not split and is_folder(place / "train"):
        raise UsageError(f"{place} has a train/ but no test/ or val/: give {place / 'train'} to measure on that")
    root = place / split
    _refuse_unknown(root, class_folders(root), classes)
    pictures, _ = list_split(root, root, tuple(classes))
    paths, labels = [root / picture.path for picture in pictures], [picture.label for picture in pictures]
    return Labelled(tuple(paths), tuple(labels), f"{split}/" if split else "all")


def _csv(place: Path, classes: Sequence[str]) -> Labelled:
    rows = read_rows(place)
    splits = {row.split for row in rows}
    split = next((name for name in ("test", "val") if name in splits), "train")
    chosen = [row for row in rows if row.split == split]
    _refuse_unknown(place, (row.label for row in chosen), classes)
    labels = tuple(classes.index(row.label) for row in chosen)
    which = "all" if split == "train" else f"lines whose split is {split}"
    return Labelled(tuple(place.parent / row.file for row in chosen), labels, which)


def _refuse_unknown(place: Path, found: Iterable[str], classes: Sequence[str]) -> None:
    unknown = sorted(set(found) - set(classes))
    if unknown:
        more = ", ..." if len(classes) > 10 else ""
        raise UsageError(
            f"{place} has the class {shown(unknown[0])!r}, which the model does not know: it knows "
            f"{', '.join(map(shown, classes[:10]))}{more}"
        )
