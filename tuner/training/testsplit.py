"""The test split. This is the only module that opens test pictures, and only the export calls it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuner.errors import DataError
from tuner.training.cache import describe
from tuner.training.dataspec import DataInfo, DataSpec
from tuner.training.folders import FolderSource, class_folders, list_pictures
from tuner.training.named import NamedSource
from tuner.training.pictures import decode_into, fit_array
from tuner.training.sources import open_source


def load_test_split(spec: DataSpec, cache_dir: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Decode the test split to the training pictures' size and channels: images uint8 N x H x W x C, labels int64 N.

    Raises DataError if it has no pictures, a class that training has not, or a picture that cannot be read, and what
    `describe` raises.
    """
    info = describe(spec, cache_dir)
    source = open_source(spec)
    if isinstance(source, NamedSource):
        return _load_arrays(source, info)
    paths, labels = _list_test(source)
    images = np.empty((len(paths), info.height, info.width, info.channels), np.uint8)
    decode_into(images, paths)
    return images, np.array(labels, np.int64)


def _load_arrays(source: NamedSource, info: DataInfo) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    arrays = source.load(train=False)
    return fit_array(arrays.images, info.height), arrays.labels


def _list_test(source: FolderSource) -> tuple[list[Path], list[int]]:
    if source.test_folder is None:
        return (
            [source.root / picture.path for picture in source.set_aside],
            [picture.label for picture in source.set_aside],
        )
    test_root = source.root / source.test_folder
    unknown = sorted(set(class_folders(test_root)) - set(source.classes))
    if unknown:
        raise DataError(f"{test_root} has the class {unknown[0]!r}, which is not in train/")
    found = [(path, label) for label, name in enumerate(source.classes) for path in list_pictures(test_root / name)]
    if not found:
        raise DataError(f"{test_root} has no pictures in class folders: there is nothing to test the model on")
    return [path for path, _ in found], [label for _, label in found]
