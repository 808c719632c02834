from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuner.errors import DataError
from tuner.training.pictures import Header, Unreadable, choose_format, fit_array
from tuner.training.reading import decode_into, read_headers


def _decode(path: Path, side: int, channels: int) -> np.ndarray:
    images = np.zeros((1, side, side, channels), np.uint8)
    assert list(decode_into(images, [path])) == [(1, [])]
    return images[0]


def _format(paths: list[Path], image_size: int | None) -> tuple[int, int]:
    return choose_format([header for piece in read_headers(paths) for header in piece], image_size)


def _save(path: Path, size: tuple[int, int], mode: str = "RGB") -> Path:
    Image.new(mode, size, 100 if mode in ("L", "I;16") else None).save(path)
    return path


@pytest.mark.parametrize(("sizes", "side"), [([(32, 20), (8, 32)], 32), ([(33, 20), (8, 8)], 64)])
def test_the_side_is_32_if_no_picture_is_longer_else_64(tmp_path: Path, sizes, side: int) -> None:
    paths = [_save(tmp_path / f"{number}.png", size) for number, size in enumerate(sizes)]
    assert _format(paths, None) == (side, 3)
    assert _format(paths, 48) == (48, 3)


@pytest.mark.parametrize(("modes", "channels"), [(("L", "1", "LA", "I;16"), 1), (("L", "RGB"), 3), (("L", "P"), 3)])
def test_a_data_set_is_grey_only_if_all_pictures_are(tmp_path: Path, modes, channels: int) -> None:
    paths = [_save(tmp_path / f"{number}.png", (8, 8), mode) for number, mode in enumerate(modes)]
    assert _format(paths, None) == (32, channels)


def test_a_picture_of_the_right_size_keeps_every_pixel(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(_decode(tmp_path / "a.png", 8, 3), pixels)


def test_the_centre_of_the_longer_side_is_kept(tmp_path: Path) -> None:
    pixels = np.zeros((8, 16), np.uint8)
    pixels[:, 4:12] = np.arange(8) * 10
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert np.array_equal(_decode(tmp_path / "wide.png", 8, 1)[:, :, 0], pixels[:, 4:12])


def test_a_picture_is_turned_upright_by_its_exif_tag(tmp_path: Path) -> None:
    image = Image.fromarray(np.repeat(np.array([[0], [255]], np.uint8), 8, axis=1).repeat(4, axis=0))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image.save(tmp_path / "turned.png", exif=exif)
    decoded = _decode(tmp_path / "turned.png", 8, 1)[:, 0, 0]
    assert decoded.tolist() == [255] * 4 + [0] * 4


def test_a_16_bit_picture_is_scaled_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 0x8000, np.uint16)).save(tmp_path / "deep.png")
    assert np.unique(_decode(tmp_path / "deep.png", 8, 1)).tolist() == [0x80]


def test_a_large_jpeg_is_decoded_to_the_same_picture_as_without_the_shortcut(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 512).astype(np.uint8)
    Image.fromarray(np.stack([np.tile(ramp, (512, 1))] * 3, axis=-1)).save(tmp_path / "a.jpg", quality=95)
    full = fit_array(np.asarray(Image.open(tmp_path / "a.jpg"))[np.newaxis], 32)[0]
    assert np.abs(_decode(tmp_path / "a.jpg", 32, 3).astype(int) - full).max() <= 2


@pytest.mark.parametrize(
    "content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n broken", b"GIF89a", b"II*\0\xff\xff\xff\xff"]
)
def test_bytes_that_are_no_picture_are_given_with_their_place_and_the_others_decoded(tmp_path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    whole = _save(tmp_path / "whole.png", (8, 8))
    images = np.full((2, 8, 8, 3), 7, np.uint8)
    ((done, (unreadable,)),) = decode_into(images, [path, whole])
    assert (done, unreadable.place) == (2, 0)
    assert unreadable.reason
    assert "0x" not in unreadable.reason
    assert images[1].max() == 0
    ((broken, header),) = read_headers([path, whole])
    assert broken is None
    assert header == Header(8, 8, "RGB", "PNG", False)


def test_a_truncated_picture_has_a_reason(tmp_path: Path) -> None:
    path = _save(tmp_path / "cut.jpg", (64, 64))
    path.write_bytes(path.read_bytes()[:-200])
    ((_, unreadable),) = decode_into(np.zeros((1, 64, 64, 3), np.uint8), [path])
    assert unreadable == [Unreadable(0, "Truncated File Read")] or "truncated" in unreadable[0].reason


def test_a_file_that_cannot_be_opened_is_an_error_and_not_skipped(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the picture .*gone\.png \(No such file"):
        list(decode_into(np.zeros((1, 8, 8, 3), np.uint8), [tmp_path / "gone.png"]))
    with pytest.raises(DataError, match=r"cannot read the picture .*gone\.png \(No such file"):
        list(read_headers([tmp_path / "gone.png"]))


RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
COLOURS = np.stack([RAMP, RAMP.T, 255 - RAMP], axis=-1)


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "webp", "tif", "ppm"])
def test_a_lossless_format_keeps_the_pixels(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    grey = np.stack([RAMP] * 3, axis=-1)  # at most 256 colours, for GIF
    Image.fromarray(grey).save(tmp_path / f"a.{suffix}", **options)
    assert np.array_equal(_decode(tmp_path / f"a.{suffix}", 8, 3), grey)


def test_of_an_animation_the_first_frame_counts(tmp_path: Path) -> None:
    first, second = (Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (40, 200))
    for name in ("a.gif", "a.webp", "a.png"):
        lossless = {"lossless": True} if name == "a.webp" else {}
        first.save(tmp_path / name, save_all=True, append_images=[second], **lossless)
        assert np.unique(_decode(tmp_path / name, 8, 1)).tolist() == [40], name


def test_a_palette_and_its_colours_are_the_same_picture(tmp_path: Path) -> None:
    image = Image.fromarray(COLOURS).quantize(16)
    image.save(tmp_path / "p.png")
    image.convert("RGB").save(tmp_path / "rgb.png")
    assert np.array_equal(_decode(tmp_path / "p.png", 8, 3), _decode(tmp_path / "rgb.png", 8, 3))


def test_transparent_pixels_are_white_whatever_colour_they_hide(tmp_path: Path) -> None:
    alpha = np.zeros((8, 8), np.uint8)
    alpha[:, 4:] = 255
    Image.fromarray(np.dstack([COLOURS, alpha])).save(tmp_path / "rgba.png")
    Image.fromarray(np.dstack([RAMP, alpha])).save(tmp_path / "la.png")
    palette = Image.fromarray(np.tile(np.arange(8, dtype=np.uint8), (8, 1)), "P")
    palette.putpalette([value for index in range(8) for value in (index, 10 * index, 20 * index)])
    palette.save(tmp_path / "p.png", transparency=bytes([0] * 4 + [255] * 4))
    for name, channels in (("rgba.png", 3), ("la.png", 1), ("p.png", 3)):
        decoded = _decode(tmp_path / name, 8, channels)
        assert np.unique(decoded[:, :4]).tolist() == [255], name
    assert np.array_equal(_decode(tmp_path / "rgba.png", 8, 3)[:, 4:], COLOURS[:, 4:])
    assert np.array_equal(_decode(tmp_path / "la.png", 8, 1)[:, 4:, 0], RAMP[:, 4:])
    assert _decode(tmp_path / "p.png", 8, 3)[0, 5].tolist() == [5, 50, 100]


def test_half_transparent_is_half_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 128)).save(tmp_path / "half.png")
    assert np.unique(_decode(tmp_path / "half.png", 8, 3)).tolist() == [127]


def test_16_bits_of_colour_are_scaled_too(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + struct.pack(">24H", *([0x8000, 0x4000, 0xFFFF] * 8)) for _ in range(8))

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert np.unique(_decode(tmp_path / "deep.png", 8, 3).reshape(-1, 3), axis=0).tolist() == [[0x80, 0x40, 0xFF]]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "red.jpg", quality=100)
    red, green, blue = _decode(tmp_path / "red.jpg", 8, 3)[4, 4].tolist()
    assert red > 240
    assert max(green, blue) < 15


def test_floating_point_pixels_are_refused_with_the_reason(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "f.tif")
    ((_, (unreadable,)),) = decode_into(np.zeros((1, 8, 8, 1), np.uint8), [tmp_path / "f.tif"])
    assert unreadable.reason.startswith("floating-point pixels")


@pytest.mark.parametrize("orientation", range(2, 9))
def test_each_of_the_turns_of_exif_is_undone(tmp_path: Path, orientation: int) -> None:
    # What a camera that was held otherwise stores: the upright picture turned back.
    turns = {
        2: lambda upright: upright[:, ::-1],
        3: lambda upright: upright[::-1, ::-1],
        4: lambda upright: upright[::-1],
        5: lambda upright: upright.transpose(1, 0, 2),
        6: lambda upright: upright[:, ::-1].transpose(1, 0, 2)[:, :],
        7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
        8: lambda upright: upright.transpose(1, 0, 2)[:, ::-1],
    }
    stored = Image.fromarray(np.ascontiguousarray(turns[orientation](COLOURS)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(_decode(tmp_path / "a.png", 8, 3), COLOURS)


def test_decoding_can_begin_in_the_middle(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        Image.new("L", (8, 8), 10 + number).save(path)
    images = np.zeros((5, 8, 8, 1), np.uint8)
    assert list(decode_into(images, paths, start=3)) == [(5, [])]
    assert images[:, 0, 0, 0].tolist() == [0, 0, 0, 13, 14]


def test_arrays_are_resized_like_files() -> None:
    images = np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 8, 8, 1)
    assert fit_array(images, 8) is images
    fitted = fit_array(images, 4)
    assert fitted.shape == (2, 4, 4, 1)
    assert abs(float(fitted.mean()) - images.mean()) < 1
