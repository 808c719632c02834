from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuner.errors import DataError
from tuner.training.pictures import choose_format, decode_into, fit_array


def _decode(path: Path, side: int, channels: int) -> np.ndarray:
    images = np.zeros((1, side, side, channels), np.uint8)
    decode_into(images, [path])
    return images[0]


def _save(path: Path, size: tuple[int, int], mode: str = "RGB") -> Path:
    Image.new(mode, size, 100 if mode in ("L", "I;16") else None).save(path)
    return path


@pytest.mark.parametrize(("sizes", "side"), [([(32, 20), (8, 32)], 32), ([(33, 20), (8, 8)], 64)])
def test_the_side_is_32_if_no_picture_is_longer_else_64(tmp_path: Path, sizes, side: int) -> None:
    paths = [_save(tmp_path / f"{number}.png", size) for number, size in enumerate(sizes)]
    assert choose_format(paths, None) == (side, 3)
    assert choose_format(paths, 48) == (48, 3)


@pytest.mark.parametrize(("modes", "channels"), [(("L", "1", "LA", "I;16"), 1), (("L", "RGB"), 3), (("L", "P"), 3)])
def test_a_data_set_is_grey_only_if_all_pictures_are(tmp_path: Path, modes, channels: int) -> None:
    paths = [_save(tmp_path / f"{number}.png", (8, 8), mode) for number, mode in enumerate(modes)]
    assert choose_format(paths, None) == (32, channels)


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


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n broken"])
def test_a_broken_picture_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read the picture .*broken\.png"):
        choose_format([path], None)
    with pytest.raises(DataError, match=r"cannot read the picture .*broken\.png"):
        _decode(path, 8, 3)


def test_a_truncated_picture_is_named(tmp_path: Path) -> None:
    path = _save(tmp_path / "cut.jpg", (64, 64))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"cut\.jpg"):
        _decode(path, 64, 3)


def test_arrays_are_resized_like_files() -> None:
    images = np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 8, 8, 1)
    assert fit_array(images, 8) is images
    fitted = fit_array(images, 4)
    assert fitted.shape == (2, 4, 4, 1)
    assert abs(float(fitted.mean()) - images.mean()) < 1
