"""Where a data set's pictures come from: a folder, or a named data set's arrays."""

from __future__ import annotations

from pathlib import Path

from tuner.errors import UsageError
from tuner.training.dataspec import NAMED, DataSpec, is_folder
from tuner.training.folders import FolderSource, open_folder
from tuner.training.named import KEEP_ON_FLIP, NamedSource

Source = FolderSource | NamedSource


def open_source(spec: DataSpec) -> Source:
    """Find the data set; a folder `<data_dir>/<name>/train` that is there comes before any download.

    Raises UsageError if there is no such data set, and what `open_folder` raises.
    """
    if spec.dataset in NAMED:
        provided = Path(spec.data_dir) / spec.dataset
        if is_folder(provided / "train"):
            return open_folder(provided)
        return NamedSource(spec.dataset, Path(spec.data_dir))
    folder = Path(spec.dataset)
    if not is_folder(folder):
        raise UsageError(f"no data set {spec.dataset!r}: give a folder of class folders, or one of {', '.join(NAMED)}")
    return open_folder(folder)


def flip_keeps_class(spec: DataSpec) -> bool:
    """Whether a mirrored picture is still one of its class: not for digits, and for folders assumed."""
    return KEEP_ON_FLIP.get(spec.dataset, True)
