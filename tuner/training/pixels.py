"""The bytes of a picture file to a square uint8 array: the one rule for training, testing and predicting.

Every format that PIL reads; of an animation the first frame. A picture is turned upright by its EXIF tag, made grey or
RGB, its shorter side resized to the side (bilinear), and its centre cut out. Transparent pixels are shown on white, as
viewers show them; 16-bit values are scaled to 8 bits; CMYK becomes RGB. Floating-point pixels are refused: nobody knows
their range.

An exported model's `predict.py` holds this very text, so that it needs nothing but numpy and PIL.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
"""Files in a folder are taken for pictures if their names end so."""

ORIENTATION = 0x0112


class Broken(Exception):
    """The bytes of a file are no picture; the text is the reason."""


def decode_bytes(content: bytes, side: int, channels: int) -> NDArray[np.uint8]:
    """One picture: uint8 side x side x `channels` (1 grey, 3 RGB). Raises Broken if `content` is none."""
    if not content:
        raise Broken("empty")
    with parsing(), Image.open(io.BytesIO(content)) as image:
        # A JPEG decodes at 1/2, 1/4 or 1/8 of its size for a fraction of the work; twice the side keeps it sharp.
        image.draft(None, (2 * side, 2 * side))
        upright: Image.Image = ImageOps.exif_transpose(image) if ORIENTATION in image.getexif() else image
        opaque = _on_white(_to_8_bits(upright))
        fitted = fit(opaque.convert("L" if channels == 1 else "RGB"), side)
        return np.asarray(fitted, dtype=np.uint8).reshape(side, side, channels)


def fit(image: Image.Image, side: int) -> Image.Image:
    """The centre of `image`, its shorter side resized to `side`."""
    if image.size == (side, side):
        return image
    return ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR)


@contextmanager
def parsing() -> Iterator[None]:
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
        lines = ["not a picture"] if isinstance(error, UnidentifiedImageError) else str(error).strip().splitlines()
        raise Broken(lines[0][:300] if lines else type(error).__name__) from error


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
