"""The test split. This is the only module that opens test pictures; only the export and `tuner data` call it."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuner.errors import DataError
from tuner.training.cache import describe, silent
from tuner.training.dataspec import DataInfo, DataSpec
from tuner.training.decoding import Tell
from tuner.training.files import FileSource, Picture
from tuner.training.folders import Listing, list_split
from tuner.training.named import NamedSource
from tuner.training.pictures import fit_array
from tuner.training.reading import decode_into
from tuner.training.remarks import no_pictures
from tuner.training.sources import open_source


@dataclass(frozen=True)
class DecodedTest:
    """Decoded test pictures. images: uint8 N x H x W x C, in a file, not in memory; labels: int64 N; paths: where each
    is below the data set's folder, empty where it has no files; skipped: (path, reason) of files that hold no picture;
    others: files that are not named as pictures."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    paths: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    others: tuple[str, ...]


def load_test_split(spec: DataSpec, cache_dir: Path, tell: Tell = silent) -> DecodedTest:
    """Decode the test split to the training pictures' size and channels.

    Raises DataError if it has no pictures, a class that training has not, or (where `spec` is strict) files that hold
    none, and what `describe` raises.
    """
    info = describe(spec, cache_dir, tell)
    source = open_source(spec)
    if isinstance(source, NamedSource):
        arrays = source.load(train=False)
        return DecodedTest(fit_array(arrays.images, info.height), arrays.labels, (), (), ())
    return _load_files(source, info, cache_dir, tell, spec.strict)


def list_test(source: FileSource) -> Listing:
    """The test pictures' paths and labels, and the other files beside them; opens none. Raises DataError if a folder
    cannot be listed or has a class that training has not."""
    if source.test_folder is None:
        return Listing(source.set_aside, ())
    return list_split(source.root, source.root / source.test_folder, source.classes)


def _load_files(source: FileSource, info: DataInfo, cache_dir: Path, tell: Tell, strict: bool) -> DecodedTest:
    pictures, others = list_test(source)
    if not pictures:
        raise DataError(
            f"{source.root / (source.test_folder or '')} has no pictures in class folders: there is nothing to test "
            "the model on"
        )
    try:
        images = _unnamed(cache_dir, (len(pictures), info.height, info.width, info.channels))
    except OSError as error:
        raise DataError(f"cannot write the decoded test pictures to {cache_dir}: {error.strerror or error}") from error
    skipped: dict[int, str] = {}
    for done, unreadable in decode_into(images, [source.root / picture.path for picture in pictures]):
        skipped |= dict(unreadable)
        tell("decoding test pictures", done, len(pictures))
    named = tuple((pictures[index].path, reason) for index, reason in skipped.items())
    bad = no_pictures(named, others)
    if (strict and bad) or len(named) == len(pictures):
        raise DataError(f"the test split of {source.root} has {bad}: remove or repair what is broken")
    kept = [index for index in range(len(pictures)) if index not in skipped]
    for new, old in enumerate(kept):
        if new != old:
            images[new] = images[old]
    return _of(images[: len(kept)], [pictures[index] for index in kept], named, others)


def _of(
    images: NDArray[np.uint8], pictures: list[Picture], skipped: tuple[tuple[str, str], ...], others: tuple[str, ...]
) -> DecodedTest:
    labels = np.array([picture.label for picture in pictures], np.int64)
    return DecodedTest(images, labels, tuple(picture.path for picture in pictures), skipped, others)


def _unnamed(folder: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An array in a file that goes away with it."""
    with tempfile.TemporaryFile(dir=folder) as file:
        # A write through the map to a full disk is SIGBUS, which no process survives; this is an OSError instead.
        os.posix_fallocate(file.fileno(), 0, int(np.prod(shape, dtype=np.int64)))
        return np.memmap(file, np.uint8, "r+", shape=shape)
