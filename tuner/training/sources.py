"""Where a data set's pictures come from: a folder or a CSV file, or a named data set's arrays."""

from __future__ import annotations

from pathlib import Path

from tuner.training.csvfile import open_csv
from tuner.training.dataspec import NAMED, DataSpec, is_csv, is_folder, no_such_dataset
from tuner.training.files import FileSource
from tuner.training.folders import open_folder
from tuner.training.named import KEEP_ON_FLIP, NamedSource

Source = FileSource | NamedSource


def open_source(spec: DataSpec) -> Source:
    """Find the data set; a folder `<data_dir>/<name>/train` that is there comes before any download.

    Raises UsageError if there is no such data set, and what `open_folder` and `open_csv` raise.
    """
    if spec.dataset in NAMED:
        provided = Path(spec.data_dir) / spec.dataset
        if is_folder(provided / "train"):
            return open_folder(provided)
        return NamedSource(spec.dataset, Path(spec.data_dir))
    path = Path(spec.dataset)
    if is_folder(path):
        return open_folder(path)
    if is_csv(spec.dataset):
        return open_csv(path)
    raise no_such_dataset(spec.dataset)


def flip_keeps_class(spec: DataSpec) -> bool:
    """Whether a mirrored picture is still one of its class: not for digits, and for folders assumed."""
    return KEEP_ON_FLIP.get(spec.dataset, True)
