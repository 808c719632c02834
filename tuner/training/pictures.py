"""Picture files to square uint8 arrays: their headers, and all of them at once. `pixels` says what becomes of one.

Shapes: N pictures, H = W = side in pixels, C channels (1 grey, 3 RGB).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tuner.errors import DataError
from tuner.training.pixels import ORIENTATION, Broken, decode_bytes, fit, parsing

_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})
_SMALL_SIDE, _LARGE_SIDE = 32, 64

Beat = Callable[[], None]
"""Called after each picture, from any thread: there is progress."""


def no_beat() -> None:
    """Nobody waits."""


class Header(NamedTuple):
    """What a picture's header says: size in pixels, mode and format in PIL's words, whether its EXIF tag turns it."""

    width: int
    height: int
    mode: str
    format: str
    turned: bool

    @property
    def grey(self) -> bool:
        """Whether it has no colours."""
        return self.mode in _GREY_MODES


class Unreadable(NamedTuple):
    """A file that holds no picture: its place in the list that was asked for, and the reason in a few words."""

    place: int
    reason: str


def choose_format(headers: Sequence[Header | None], image_size: int | None) -> tuple[int, int]:
    """Return (side, channels) for a data set: one channel if all pictures are grey, and `image_size` or, where that is
    None, 32 pixels if no picture is longer, else 64."""
    known = [header for header in headers if header is not None]
    fits = all(max(header.width, header.height) <= _SMALL_SIDE for header in known)
    side = image_size or (_SMALL_SIDE if fits else _LARGE_SIDE)
    return side, 1 if all(header.grey for header in known) else 3


def decode_piece(
    images: NDArray[np.uint8], start: int, paths: Sequence[Path], beat: Beat = no_beat
) -> list[Unreadable]:
    """Decode `paths` into `images` (N x H x W x C, H = W) from place `start` on; return which hold no picture, whose
    places are left as they are. Raises DataError naming a file that cannot be read for another reason than what is in
    it."""
    side, channels = images.shape[1], images.shape[3]
    unreadable = []
    for place, path in enumerate(paths, start):
        try:
            images[place] = decode(path, side, channels)
        except Broken as error:
            unreadable.append(Unreadable(place, str(error)))
        beat()
    return unreadable


def decode(path: Path, side: int, channels: int) -> NDArray[np.uint8]:
    """One picture as H x W x C, H = W = `side`. Raises Broken if it holds none, DataError if it cannot be read."""
    with _opening(path):
        # Read whole and at once: PIL's own many small reads halve the speed for small pictures.
        return decode_bytes(path.read_bytes(), side, channels)


def fit_array(images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Resize decoded pictures (N x H x W x C) to N x side x side x C, as `decode_into` does for files."""
    if images.shape[1:3] == (side, side):
        return images
    grey = images.shape[3] == 1
    fitted = [
        np.asarray(fit(Image.fromarray(image[:, :, 0] if grey else image), side)).reshape(side, side, -1)
        for image in images
    ]
    return np.stack(fitted)


def read_header(path: Path) -> Header | None:
    """The header of a picture; None if the file has none that can be read. Raises DataError if it cannot be opened."""
    try:
        return _read_header(path)
    except Broken:
        return None


def _read_header(path: Path) -> Header:
    with _opening(path), path.open("rb") as file, parsing(), Image.open(file) as image:
        # Asked for a tag that was not met on the way to the pixels, PIL reads on through them.
        turned = "exif" in image.info and image.getexif().get(ORIENTATION, 1) != 1
        return Header(*image.size, image.mode, image.format or "", turned)


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    """A file that cannot be opened or read is the machine's matter, not the picture's: no picture is skipped for it."""
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot read the picture {path} ({error.strerror or error})") from error
