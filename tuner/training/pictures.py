"""Picture files to square uint8 arrays.

Shapes: N pictures, H = W = side in pixels, C channels (1 grey, 3 RGB).
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tuner.errors import DataError

_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_SMALL_SIDE, _LARGE_SIDE = 32, 64
_ORIENTATION = 0x0112
_CHUNK = 256
_Result = TypeVar("_Result")


class Header(NamedTuple):
    """What a picture's header says: its longer side in pixels, and whether it is grey."""

    longer_side: int
    grey: bool


def choose_format(paths: Sequence[Path], image_size: int | None) -> tuple[int, int]:
    """Return (side, channels) for a data set: one channel if all `paths` are grey pictures, and `image_size` or, where
    that is None, 32 pixels if no picture is longer, else 64. Raises DataError naming a picture that is not readable.
    """
    headers = _in_threads(_read_header, paths)
    fits = all(header.longer_side <= _SMALL_SIDE for header in headers)
    side = image_size or (_SMALL_SIDE if fits else _LARGE_SIDE)
    return side, 1 if all(header.grey for header in headers) else 3


def decode_into(images: NDArray[np.uint8], paths: Sequence[Path]) -> None:
    """Decode `paths` into `images` (N x H x W x C, H = W), with all cores.

    Each is turned upright by its EXIF tag, its shorter side resized to H, and its centre cut out. Raises DataError
    naming a picture that cannot be read.
    """
    side, channels = images.shape[1], images.shape[3]

    def decode(index: int, path: Path) -> None:
        images[index] = _decode(path, side, channels)

    _in_threads(decode, paths)


def fit_array(images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Resize decoded pictures (N x H x W x C) to N x side x side x C, as `decode_into` does for files."""
    if images.shape[1:3] == (side, side):
        return images
    grey = images.shape[3] == 1
    fitted = [
        np.asarray(_fit(Image.fromarray(image[:, :, 0] if grey else image), side)).reshape(side, side, -1)
        for image in images
    ]
    return np.stack(fitted)


def _in_threads(function: Callable[[int, Path], _Result], paths: Sequence[Path]) -> list[_Result]:
    def run(start: int) -> list[_Result]:
        return [function(start + offset, path) for offset, path in enumerate(paths[start : start + _CHUNK])]

    # Threads serve both ends: PIL decodes large pictures without the interpreter's lock, and small files on a network
    # file system are mostly waiting.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return [result for part in pool.map(run, range(0, len(paths), _CHUNK)) for result in part]


def _read_header(_: int, path: Path) -> Header:
    with _reading(path), Image.open(path) as image:
        return Header(max(image.size), image.mode in _GREY_MODES)


def _decode(path: Path, side: int, channels: int) -> NDArray[np.uint8]:
    # Read whole and at once: PIL's own many small reads halve the speed for small pictures.
    with _reading(path), Image.open(io.BytesIO(path.read_bytes())) as image:
        # A JPEG decodes at 1/2, 1/4 or 1/8 of its size for a fraction of the work; twice the side keeps it sharp.
        image.draft(None, (2 * side, 2 * side))
        upright: Image.Image = ImageOps.exif_transpose(image) if _ORIENTATION in image.getexif() else image
        if upright.mode.startswith("I"):
            # PIL clips deeper pictures at 255 instead of scaling them.
            upright = Image.fromarray((np.asarray(upright).clip(0, 65535) // 256).astype(np.uint8))
        fitted = _fit(upright.convert("L" if channels == 1 else "RGB"), side)
        return np.asarray(fitted, dtype=np.uint8).reshape(side, side, channels)


def _fit(image: Image.Image, side: int) -> Image.Image:
    if image.size == (side, side):
        return image
    return ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns whatever PIL raises for a broken or vanished file into a DataError that names it."""
    try:
        yield
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"cannot read the picture {path} ({reason}): remove or repair it") from error
