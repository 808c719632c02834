from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tuner.training import pictures
from tuner.training.dataspec import DataSpec
from tuner.training.survey import Survey, survey


def test_a_folder_is_described_without_decoding_it(make_folder, tmp_path: Path, monkeypatch) -> None:
    root = make_folder({"train/cat": 9, "train/dog": 20, "test/dog": 2}, size=(20, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (90, 60)).save(root / "train/cat/grey.jpg", exif=exif)
    (root / "train/cat/broken.gif").write_bytes(b"GIF8")
    (root / "train/cat/list.csv").touch()
    (root / "test/dog/000.png").write_bytes(b"never opened")
    monkeypatch.delattr(pictures, "decode")
    assert survey(DataSpec(str(root), "")) == Survey(
        dataset=str(root),
        name="pets-2",
        classes={"cat": {"train": 10, "val": 1, "test": 0}, "dog": {"train": 18, "val": 2, "test": 2}},
        val_source="10% of each class, held out of the training pictures by the seed",
        test_source="the data set's own test/ folder",
        smallest=(20, 30),
        largest=(90, 60),
        modes={"RGB": 29, "L": 1},
        formats={"PNG": 29, "JPEG": 1},
        turned=1,
        height=64,
        width=64,
        channels=3,
        resized=30,
        no_header=("train/cat/broken.gif",),
        others=("train/cat/list.csv",),
        balance=20 / 11,
    )


def test_its_own_validation_split_is_counted_as_it_is(make_folder) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 4, "val/dog": 2, "test/cat": 1}, size=(32, 32), mode="L")
    seen = survey(DataSpec(str(root), ""))
    assert (seen.total("train"), seen.total("val"), seen.total("test")) == (7, 2, 1)
    assert seen.val_source == "the data set's own"
    assert (seen.height, seen.channels, seen.resized) == (32, 1, 0)


@pytest.mark.parametrize(("image_size", "resized"), [(None, 0), (12, 1438)])
def test_a_named_data_set_is_described_likewise(tmp_path: Path, image_size: int | None, resized: int) -> None:
    seen = survey(DataSpec("digits", str(tmp_path), image_size=image_size))
    assert (seen.total("train"), seen.total("val"), seen.total("test")) == (1295, 143, 359)
    assert (seen.modes, seen.resized, seen.height) == ({"L": 1438}, resized, image_size or 8)
    assert seen.as_dict()["classes"][0] == {"name": "0", "train": 128, "val": 14, "test": 36}
