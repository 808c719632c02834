"""The training side of a data set, decoded once per machine into memory-mapped files that all its workers share.

    CACHE_DIR/<name>-<key>/images.npy   uint8 N x H x W x C
    CACHE_DIR/<name>-<key>/labels.npy   int64 N
    CACHE_DIR/<name>-<key>/meta.json    the other fields of `CachedData`

Training pictures come first, then those of the data set's own validation split. The key follows from the names, sizes
and times of the files, so that a changed data set gets a new cache; a cache folder may be deleted whenever no search
runs. The fingerprint follows from the decoded pictures alone, so that copies on several machines agree.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError

import numpy as np
from numpy.typing import NDArray

from tuner.errors import DataError, first_line
from tuner.training.dataspec import DataInfo, DataSpec
from tuner.training.folders import MIN_TRAIN_PER_CLASS, FolderSource
from tuner.training.locking import file_lock
from tuner.training.named import NamedSource
from tuner.training.pictures import choose_format, decode_into, fit_array
from tuner.training.sources import Source, flip_keeps_class, open_source
from tuner.training.splits import stratified_indices

_FORMAT = 2
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class CachedData:
    """A decoded training side. images: uint8 N x H x W x C, memory-mapped; labels: int64 N; the last `own_val` of both
    are the data set's own validation split (0: it has none)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    own_val: int
    fingerprint: str
    test_source: str

    def split(self, spec: DataSpec) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices of (training, validation) pictures, both sorted."""
        if self.own_val:
            border = len(self.labels) - self.own_val
            return np.arange(border), np.arange(border, len(self.labels))
        return stratified_indices(self.labels, spec.val_fraction, spec.seed)

    def info(self, spec: DataSpec) -> DataInfo:
        """What is known of the data set under `spec`."""
        train, val = self.split(spec)
        _, height, width, channels = self.images.shape
        return DataInfo(
            name=spec.default_name,
            classes=self.classes,
            height=height,
            width=width,
            channels=channels,
            train_size=len(train),
            val_size=len(val),
            flip=flip_keeps_class(spec),
            fingerprint=self.fingerprint,
            test_source=self.test_source,
        )


def describe(spec: DataSpec, cache_dir: Path) -> DataInfo:
    """What is known of the data set; decodes it into the cache first if need be. Raises what `open_cached` raises."""
    return open_cached(spec, cache_dir).info(spec)


def open_cached(spec: DataSpec, cache_dir: Path) -> CachedData:
    """Open the decoded training side, decoding it first if this machine has not yet; opens no test picture.

    Of many processes that start together one decodes and the others wait. Raises UsageError if there is no such data
    set, DataError if it is not usable or the cache cannot be written.
    """
    source = open_source(spec)
    files_key = source.files_key()
    key = hashlib.sha256(json.dumps([_FORMAT, files_key, spec.image_size]).encode()).hexdigest()[:16]
    folder = cache_dir / f"{spec.default_name}-{key}"
    try:
        if not folder.is_dir():
            cache_dir.mkdir(parents=True, exist_ok=True)
            with file_lock(cache_dir / f".{folder.name}.lock"):
                if not folder.is_dir():
                    _build(source, spec.image_size, folder)
    except OSError as error:
        raise DataError(f"cannot write the decoded data set to {folder}: {error.strerror or error}") from error
    return _open(folder, source.test_source)


def _open(folder: Path, test_source: str) -> CachedData:
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        classes, own_val, fingerprint = tuple(meta["classes"]), int(meta["own_val"]), str(meta["fingerprint"])
        # Copy-on-write: torch warns of read-only memory, and the file itself can never be changed through it.
        images = np.lib.format.open_memmap(folder / "images.npy", mode="c")
        labels = np.array(np.lib.format.open_memmap(folder / "labels.npy", mode="r"))
        if images.dtype != np.uint8 or images.ndim != 4 or labels.dtype != np.int64 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"images {images.dtype} {images.shape} do not go with labels {labels.dtype} {labels.shape}"
            )
        if not 0 <= labels.min() <= labels.max() < len(classes):
            raise ValueError(f"labels {labels.min()} to {labels.max()} of {len(classes)} classes")
    # NumPy parses a header as Python's literals, with Python's tokenizer.
    except (OSError, ValueError, KeyError, TypeError, OverflowError, SyntaxError, TokenError) as error:
        raise DataError(
            f"the decoded data set in {folder} is damaged ({first_line(error)}): delete that folder, it is decoded anew"
        ) from error
    return CachedData(images, labels, classes, own_val, fingerprint, test_source)


def _build(source: Source, image_size: int | None, folder: Path) -> None:
    """Fill a temporary folder, then rename it, so that `folder` is either absent or whole. Caller holds the lock."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        if isinstance(source, FolderSource):
            classes, labels, own_val = _write_folder(source, image_size, partial)
        else:
            classes, labels, own_val = _write_arrays(source, image_size, partial)
        np.save(partial / "labels.npy", labels)
        meta = {"classes": classes, "own_val": own_val, "fingerprint": _fingerprint(partial, classes, own_val)}
        (partial / "meta.json").write_text(json.dumps(meta, ensure_ascii=True), encoding="utf-8")
        os.rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fingerprint(folder: Path, classes: tuple[str, ...], own_val: int) -> str:
    """SHA-256 of the decoded pictures, their labels, and what the labels mean."""
    digest = hashlib.sha256(json.dumps([classes, own_val]).encode())
    for name in ("images.npy", "labels.npy"):
        with (folder / name).open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def _write_folder(
    source: FolderSource, image_size: int | None, folder: Path
) -> tuple[tuple[str, ...], NDArray[np.int64], int]:
    pictures = (*source.train, *source.val)
    paths = [source.root / picture.path for picture in pictures]
    side, channels = choose_format(paths, image_size)
    images = _new_images(folder, (len(paths), side, side, channels))
    decode_into(images, paths)
    images.flush()
    return source.classes, np.array([picture.label for picture in pictures], np.int64), len(source.val)


def _write_arrays(
    source: NamedSource, image_size: int | None, folder: Path
) -> tuple[tuple[str, ...], NDArray[np.int64], int]:
    arrays = source.load(train=True)
    fewest, count = min(Counter(arrays.labels.tolist()).items(), key=lambda item: item[1])
    assert count >= MIN_TRAIN_PER_CLASS, f"{source.name} has {count} pictures of class {fewest}"
    fitted = fit_array(arrays.images, image_size or arrays.images.shape[1])
    images = _new_images(folder, fitted.shape)
    images[:] = fitted
    images.flush()
    return arrays.classes, arrays.labels, 0


def _new_images(folder: Path, shape: tuple[int, ...]) -> np.memmap[tuple[int, ...], np.dtype[np.uint8]]:
    path = folder / "images.npy"
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    # A write through the map to a full disk is SIGBUS, which no process survives; this is an OSError instead.
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return images
