"""Picture files to square uint8 arrays.

Every format that PIL reads; of an animation the first frame. A picture is turned upright by its EXIF tag, made grey or
RGB, its shorter side resized to the side (bilinear), and its centre cut out. Transparent pixels are shown on white, as
viewers show them; 16-bit values are scaled to 8 bits; CMYK becomes RGB. Floating-point pixels are refused: nobody knows
their range.

Shapes: N pictures, H = W = side in pixels, C channels (1 grey, 3 RGB).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from tuner.errors import DataError, first_line

_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})
_SMALL_SIDE, _LARGE_SIDE = 32, 64
_ORIENTATION = 0x0112

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


class Broken(Exception):
    """The bytes of a file are no picture; the text is the reason."""


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


def read_header(path: Path) -> Header | None:
    """The header of a picture; None if the file has none that can be read. Raises DataError if it cannot be opened."""
    try:
        return _read_header(path)
    except Broken:
        return None


def _read_header(path: Path) -> Header:
    with _opening(path), path.open("rb") as file, _parsing(), Image.open(file) as image:
        # Asked for a tag that was not met on the way to the pixels, PIL reads on through them.
        turned = "exif" in image.info and image.getexif().get(_ORIENTATION, 1) != 1
        return Header(*image.size, image.mode, image.format or "", turned)


def decode(path: Path, side: int, channels: int) -> NDArray[np.uint8]:
    """One picture: uint8 side x side x `channels`. Raises Broken if the file holds none, DataError if it cannot be
    read."""
    with _opening(path):
        # Read whole and at once: PIL's own many small reads halve the speed for small pictures.
        content = path.read_bytes()
    if not content:
        raise Broken("empty")
    with _parsing(), Image.open(io.BytesIO(content)) as image:
        # A JPEG decodes at 1/2, 1/4 or 1/8 of its size for a fraction of the work; twice the side keeps it sharp.
        image.draft(None, (2 * side, 2 * side))
        upright: Image.Image = ImageOps.exif_transpose(image) if _ORIENTATION in image.getexif() else image
        opaque = _on_white(_to_8_bits(upright))
        fitted = _fit(opaque.convert("L" if channels == 1 else "RGB"), side)
        return np.asarray(fitted, dtype=np.uint8).reshape(side, side, channels)


def _to_8_bits(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise Broken("floating-point pixels, whose range nobody knows: convert them to 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image
    # PIL clips deeper pictures at 255 instead of scaling them.
    return Image.fromarray((np.asarray(image).clip(0, 65535) // 256).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    """Without transparency; PIL alone would show the colours that nobody was meant to see."""
    if not image.has_transparency_data:
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))


def _fit(image: Image.Image, side: int) -> Image.Image:
    if image.size == (side, side):
        return image
    return ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR)


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    """A file that cannot be opened or read is the machine's matter, not the picture's: no picture is skipped for it."""
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot read the picture {path} ({error.strerror or error})") from error


@contextmanager
def _parsing() -> Iterator[None]:
    """Turns whatever PIL raises for bytes that are no picture into `Broken`."""
    try:
        yield
    except (Broken, MemoryError):
        raise
    # PIL's plugins raise nearly everything for bytes that they do not expect: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # Some of its lines quote the file object, with its address.
        reason = "not a picture" if isinstance(error, UnidentifiedImageError) else first_line(error)
        raise Broken(reason) from error
