"""The training side of a data set, decoded once per machine into memory-mapped files that all its workers share.

    CACHE_DIR/<name>-<key>/images.npy   uint8 N x H x W x C
    CACHE_DIR/<name>-<key>/labels.npy   int64 N
    CACHE_DIR/<name>-<key>/digests.npy  uint64 N, the same for the same pixels
    CACHE_DIR/<name>-<key>/meta.json    the other fields of `CachedData`

Training pictures come first, then those of the data set's own validation split. The key follows from the names, sizes
and times of the files, so that a changed data set gets a new cache; a cache folder may be deleted whenever no search
runs. The fingerprint follows from the decoded pictures alone, so that copies on several machines agree. `decoding`
fills the folder.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError

import numpy as np
from numpy.typing import NDArray

from tuner.errors import DataError, first_line
from tuner.training.dataspec import DataInfo, DataSpec
from tuner.training.decoding import Tell, build
from tuner.training.files import FileSource, refuse_small_classes
from tuner.training.locking import file_lock
from tuner.training.remarks import about_copies, no_pictures, plural
from tuner.training.sources import Source, flip_keeps_class, open_source
from tuner.training.splits import stratified_indices

_FORMAT = 3


def silent(what: str, done: int, total: int) -> None:
    """Tells nobody how far the decoding is."""


@dataclass(frozen=True)
class CachedData:
    """A decoded training side.

    images: uint8 N x H x W x C, memory-mapped, not to be written to; labels: int64 N; digests: uint64 N, the same for
        the same pixels; the last `own_val` of them are the data set's own validation split (0: it has none).
    skipped: (path, reason) of each file that holds no picture; no other array has a place for it.
    others: files beside the pictures that are not named as pictures.
    """

    folder: Path
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    digests: NDArray[np.uint64]
    classes: tuple[str, ...]
    own_val: int
    fingerprint: str
    test_source: str
    skipped: tuple[tuple[str, str], ...]
    others: tuple[str, ...]

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
            notes=self._notes(train, val),
            train_counts=tuple(np.bincount(self.labels[train], minlength=len(self.classes)).tolist()),
        )

    def _notes(self, train: NDArray[np.int64], val: NDArray[np.int64]) -> tuple[str, ...]:
        leaked = int(np.isin(self.digests[val], self.digests[train]).sum())
        bad = no_pictures(self.skipped, self.others)
        more = "`tuner data check` tells more"
        notes = [
            f"left out: {bad} ({more})" if bad else "",
            f"{about_copies(leaked, len(val))} ({more})" if leaked else "",
        ]
        return tuple(note for note in notes if note)


def describe(spec: DataSpec, cache_dir: Path, tell: Tell = silent) -> DataInfo:
    """What is known of the data set; decodes it into the cache first if need be. Raises what `open_cached` raises."""
    return open_cached(spec, cache_dir, tell).info(spec)


def open_cached(spec: DataSpec, cache_dir: Path, tell: Tell = silent) -> CachedData:
    """Open the decoded training side, decoding it first if this machine has not yet; opens no test picture.

    Of many processes that start together one decodes and the others wait; where one was killed, the next goes on. tell
    is called while this process decodes. Raises UsageError if there is no such data set, DataError if it is not usable
    or not as strict as `spec` asks for, the cache cannot be written, or the process that decodes makes no progress.
    """
    source = open_source(spec)
    files_key = source.files_key()
    folder = _folder(spec, files_key, cache_dir)
    try:
        if not folder.is_dir():
            cache_dir.mkdir(parents=True, exist_ok=True)
            with file_lock(cache_dir / f".{folder.name}.lock", f"decoding {spec.default_name}") as beat:
                if not folder.is_dir():
                    build(source, spec.image_size, folder, files_key, beat, tell)
    except OSError as error:
        raise DataError(f"cannot write the decoded data set to {folder}: {error.strerror or error}") from error
    cached = _open(folder, source)
    _refuse_unusable(spec, cached)
    return cached


def find_cached(spec: DataSpec, cache_dir: Path) -> Path | None:
    """The folder of the decoded training side as it is now; None if it is still to be decoded. Raises what
    `open_source` raises."""
    folder = _folder(spec, open_source(spec).files_key(), cache_dir)
    return folder if folder.is_dir() else None


def _folder(spec: DataSpec, files_key: str, cache_dir: Path) -> Path:
    key = hashlib.sha256(json.dumps([_FORMAT, files_key, spec.image_size]).encode()).hexdigest()[:16]
    return cache_dir / f"{spec.default_name}-{key}"


def _refuse_unusable(spec: DataSpec, cached: CachedData) -> None:
    bad = no_pictures(cached.skipped, cached.others)
    if spec.strict and bad:
        raise DataError(f"{spec.dataset} has {bad}: remove or repair what is broken, or leave out --strict-data")
    labels = cached.labels[: len(cached.labels) - cached.own_val].tolist()
    left = f" that can be read ({plural(len(cached.skipped), 'file')} cannot)" if cached.skipped else ""
    refuse_small_classes(spec.dataset, cached.classes, labels, left)


def _open(folder: Path, source: Source) -> CachedData:
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        classes, own_val, fingerprint = tuple(meta["classes"]), int(meta["own_val"]), str(meta["fingerprint"])
        skipped = tuple((str(path), str(reason)) for path, reason in meta["skipped"])
        # Not copy-on-write: Linux refuses such a map of a file that is larger than memory and swap.
        images = np.lib.format.open_memmap(folder / "images.npy", mode="r")
        labels = np.array(np.lib.format.open_memmap(folder / "labels.npy", mode="r"))
        digests = np.array(np.lib.format.open_memmap(folder / "digests.npy", mode="r"))
        if images.dtype != np.uint8 or images.ndim != 4 or labels.dtype != np.int64 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"images {images.dtype} {images.shape} do not go with labels {labels.dtype} {labels.shape}"
            )
        if digests.dtype != np.uint64 or digests.shape != labels.shape:
            raise ValueError(f"digests {digests.dtype} {digests.shape} do not go with {labels.shape} labels")
        if not 0 <= labels.min() <= labels.max() < len(classes):
            raise ValueError(f"labels {labels.min()} to {labels.max()} of {len(classes)} classes")
    # NumPy parses a header as Python's literals, with Python's tokenizer.
    except (OSError, ValueError, KeyError, TypeError, OverflowError, SyntaxError, TokenError) as error:
        raise DataError(
            f"the decoded data set in {folder} is damaged ({first_line(error)}): delete that folder, it is decoded anew"
        ) from error
    others = source.others if isinstance(source, FileSource) else ()
    return CachedData(
        folder, images, labels, digests, classes, own_val, fingerprint, source.test_source, skipped, others
    )
