"""Pictures as people have them: every mode, size and turn that a decoder may stumble over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_odd_pictures(folder: Path) -> list[Path]:
    """Write one file of each kind, all of the same blurred noise; gives their paths, sorted."""
    folder.mkdir()
    noise = np.random.default_rng(5).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    colour = Image.fromarray(noise).resize((120, 90), Image.Resampling.BICUBIC)
    grey = colour.convert("L")
    clear = colour.copy()
    clear.putalpha(grey)
    deep = Image.fromarray((np.asarray(grey).astype(np.uint16) << 8) + 77)
    turned = Image.Exif()
    turned[0x0112] = 6
    colour.save(folder / "colour.png")
    grey.save(folder / "grey.jpg")
    clear.save(folder / "rgba.png")
    grey.convert("LA").save(folder / "grey-alpha.png")
    colour.quantize(17).save(folder / "palette.png")
    colour.quantize(16).save(folder / "palette-clear.gif", transparency=3)
    deep.save(folder / "deep.png")
    colour.save(folder / "turned.jpg", exif=turned, quality=95)
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    grey.convert("1").save(folder / "bits.tiff")
    colour.resize((700, 500)).save(folder / "large.jpg")
    colour.resize((5, 3)).save(folder / "tiny.bmp")
    colour.resize((400, 7)).save(folder / "strip.webp", lossless=True)
    colour.save(folder / "film.gif", save_all=True, append_images=[clear.convert("RGB").rotate(90)])
    return sorted(folder.iterdir())
