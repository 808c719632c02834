"""Fills the folder of a decoded data set, going on where a decoding that was killed had stopped.

    .NAME-KEY.partial/state.json    side and channels, how many pictures are decoded, which hold no picture
    .NAME-KEY.partial/decoded.npy   uint8 N x H x W x C, N counting those that hold no picture

The state is written after the pictures that it counts are on the disk. What the folder holds in the end is said in
`cache`; until it is whole it has another name.

Shapes: N pictures, H height and W width in pixels, C channels.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tuner.errors import DataError
from tuner.training.files import FileSource
from tuner.training.locking import beating
from tuner.training.named import NamedSource
from tuner.training.pictures import Beat, Unreadable, choose_format, fit_array
from tuner.training.reading import decode_into, read_headers

Tell = Callable[[str, int, int], None]
"""Called now and then, from the thread that asked for the data: what is being done, how many pictures of how many."""

_Mapped = np.memmap[tuple[int, ...], np.dtype[np.uint8]]

_CHECKPOINT_EVERY_S = 1.0
_RESIZED_AT_ONCE = 1024


@dataclass
class _State:
    side: int
    channels: int
    done: int = 0
    unreadable: list[Unreadable] = field(default_factory=list)


def build(
    source: FileSource | NamedSource, image_size: int | None, folder: Path, key: str, beat: Beat, tell: Tell
) -> None:
    """Make `folder`; it is either absent or whole. The caller holds its lock.

    key: `source.files_key()`. Raises DataError for pictures that cannot be used or that change meanwhile, OSError if
    the folder cannot be written; nothing is left of it then. A process that is killed or interrupted leaves what it
    has decoded to the next.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        partial.mkdir(exist_ok=True)
        if isinstance(source, FileSource):
            meta = _write_files(source, image_size, partial, beat, tell)
            if source.files_key() != key:
                raise DataError(f"pictures in {source.root} changed while they were decoded: try again")
        else:
            with beating(beat):  # a download gives up by itself
                meta = _write_arrays(source, image_size, partial)
        meta["fingerprint"] = _digest(partial, meta, beat, tell)
        (partial / "meta.json").write_text(json.dumps(meta, ensure_ascii=True), encoding="utf-8")
        for left in ("state.json", "decoded.npy"):
            (partial / left).unlink(missing_ok=True)
        os.rename(partial, folder)
    except Exception:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write_files(source: FileSource, image_size: int | None, folder: Path, beat: Beat, tell: Tell) -> dict[str, Any]:
    """Write images.npy and labels.npy; return what meta.json says of them but the fingerprint."""
    pictures = source.training_side
    paths = [source.root / picture.path for picture in pictures]
    state, images = _go_on(folder, len(paths)) or _begin(folder, paths, image_size, beat, tell)
    saved_s = time.monotonic()
    for done, unreadable in decode_into(images, paths, beat, start=state.done, file=folder / "decoded.npy"):
        state.done = done
        state.unreadable += unreadable
        if time.monotonic() - saved_s >= _CHECKPOINT_EVERY_S:
            _save(folder, state, images)
            saved_s = time.monotonic()
        tell("decoding", done, len(paths))
    _save(folder, state, images)
    skipped = dict(state.unreadable)
    if len(skipped) == len(paths):
        raise DataError(f"none of the {len(paths)} files is a picture, such as {paths[0]} ({skipped[0]})")
    kept = np.array([index for index in range(len(paths)) if index not in skipped], np.int64)
    labels = np.array([picture.label for picture in pictures], np.int64)
    np.save(folder / "labels.npy", labels[kept])
    if skipped:
        whole = new_array(folder / "images.npy", (len(kept), *images.shape[1:]))
        for new, old in enumerate(kept):
            whole[new] = images[old]
            beat()
        whole.flush()
    else:
        os.rename(folder / "decoded.npy", folder / "images.npy")
    return {
        "classes": source.classes,
        "own_val": int((kept >= len(source.train)).sum()),
        "skipped": [[pictures[index].path, reason] for index, reason in skipped.items()],
    }


def _begin(folder: Path, paths: list[Path], image_size: int | None, beat: Beat, tell: Tell) -> tuple[_State, _Mapped]:
    shutil.rmtree(folder)
    folder.mkdir()
    headers = []
    for piece in read_headers(paths, beat):
        headers += piece
        tell("reading the sizes", len(headers), len(paths))
    state = _State(*choose_format(headers, image_size))
    return state, new_array(folder / "decoded.npy", (len(paths), state.side, state.side, state.channels))


def _go_on(folder: Path, count: int) -> tuple[_State, _Mapped] | None:
    """What a killed process left; None if that is nothing, or nothing that can be gone on with."""
    try:
        stored = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        unreadable = [Unreadable(int(place), str(reason)) for place, reason in stored["unreadable"]]
        state = _State(int(stored["side"]), int(stored["channels"]), int(stored["done"]), unreadable)
        if not (folder / "decoded.npy").exists():
            os.rename(folder / "images.npy", folder / "decoded.npy")  # killed while it was checked
        # Opened for writing, a file that is too short would be filled up with zeros.
        images = np.lib.format.open_memmap(folder / "decoded.npy", mode="r")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = images.dtype == np.uint8 and images.shape == (count, state.side, state.side, state.channels)
    if not whole or not 0 <= state.done <= count:
        return None
    return state, np.lib.format.open_memmap(folder / "decoded.npy", mode="r+")


def _save(folder: Path, state: _State, images: _Mapped) -> None:
    images.flush()
    new = folder / "state.json.new"
    new.write_text(json.dumps(asdict(state)), encoding="utf-8")
    os.replace(new, folder / "state.json")


def _write_arrays(source: NamedSource, image_size: int | None, folder: Path) -> dict[str, Any]:
    arrays = source.load(train=True)
    side = image_size or arrays.images.shape[1]
    count, channels = arrays.images.shape[0], arrays.images.shape[3]
    images = new_array(folder / "images.npy", (count, side, side, channels))
    # Enlarged, the whole set may be larger than memory.
    for start in range(0, count, _RESIZED_AT_ONCE):
        part = slice(start, start + _RESIZED_AT_ONCE)
        images[part] = fit_array(arrays.images[part], side)
    images.flush()
    np.save(folder / "labels.npy", arrays.labels)
    return {"classes": arrays.classes, "own_val": 0, "skipped": []}


def _digest(folder: Path, meta: dict[str, Any], beat: Beat, tell: Tell) -> str:
    """Write digests.npy, and return the SHA-256 of the decoded pictures, their labels, and what the labels mean."""
    whole = hashlib.sha256(json.dumps([meta["classes"], meta["own_val"]]).encode())
    images = np.lib.format.open_memmap(folder / "images.npy", mode="r")
    count, picture_bytes = images.shape[0], images[0].nbytes
    digests = np.empty(count, np.uint64)
    with (folder / "images.npy").open("rb") as file:
        whole.update(file.read(images.offset))
        for index in range(count):
            pixels = file.read(picture_bytes)
            whole.update(pixels)
            digests[index] = pixel_digest(pixels)
            beat()
            if index % 4096 == 0:
                tell("checking", index, count)
    whole.update((folder / "labels.npy").read_bytes())
    np.save(folder / "digests.npy", digests)
    return whole.hexdigest()


def pixel_digest(pixels: bytes) -> int:
    """64 bits that are the same for the same pixels; of a million different pictures, two agree once in 37 million."""
    return int.from_bytes(hashlib.blake2b(pixels, digest_size=8).digest(), "little")


def new_array(path: Path, shape: tuple[int, ...]) -> _Mapped:
    """A new uint8 array of zeros in the file `path`, memory-mapped. Raises OSError if the disk has no room for it."""
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    # A write through the map to a full disk is SIGBUS, which no process survives; this is an OSError instead.
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return images
