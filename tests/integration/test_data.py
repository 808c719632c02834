"""`tuner data` as a person uses it, on a folder as people have them."""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from tests.program import new_program

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def tuner():
    with new_program() as program:
        generator = np.random.default_rng(0)
        for split, number_of in (("train", 8), ("test", 3)):
            for name in ("cat", "dog"):
                folder = program.home / "pets" / split / name
                folder.mkdir(parents=True)
                for number in range(number_of):
                    pixels = generator.integers(0, 256, (40, 60, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number}.png")
        lines = [f"train/{name}/{number}.png,{name}" for name in ("cat", "dog") for number in range(8)]
        (program.home / "pets" / "labels.csv").write_text("\n".join(["file,label", *lines]))
        yield program


def test_show_prepare_and_augment_tell_what_becomes_of_the_pictures(tuner):
    shown = tuner("data", "show", "pets")
    assert shown.startswith(f"pets ({tuner.home}/pets): 2 classes\n")
    assert "  all         14        2        6\n" in shown
    assert "training side: 16 PNG; 16 RGB; 60 x 40 pixels\n" in shown
    assert "decoded to: 64 x 64, RGB; 16 are resized: the shorter side to 64, then the centre is cut out\n" in shown
    assert "cache: not decoded yet" in shown
    prepared = tuner("data", "prepare", "pets")
    assert prepared.startswith(f"16 pictures of 64 x 64 x 3 (0 MiB) are in {tuner.home}/cache/pets-")
    assert json.loads(tuner("data", "show", "pets", "--json"))["cache"] == prepared.split(" are in ")[1].strip()
    assert "labels (" in tuner("data", "show", "pets/labels.csv")
    tuner("data", "augment", "pets", "--out", "sheet.png", "--image-size", "16")
    assert Image.open(tuner.home / "sheet.png").size == (4 * (4 * 66 + 14) - 12, 24 + 8 * 66)


def test_check_ends_with_1_when_something_is_wrong(tuner):
    assert tuner("data", "check", "pets") == "ok   nothing is wrong with pets\n"
    shutil.copytree(tuner.home / "pets", tuner.home / "bad")
    shutil.copy(tuner.home / "bad/train/cat/0.png", tuner.home / "bad/test/cat/leak.png")
    (tuner.home / "bad/train/cat/page.png").write_text("<html>")
    result = subprocess.run(
        tuner.command("data", "check", "bad"), env=tuner.environment, capture_output=True, text=True, cwd=tuner.home
    )
    assert result.returncode == 1
    assert result.stdout.splitlines() == [
        "BAD  1 file cannot be read as a picture: left out",
        "       train/cat/page.png (not a picture)",
        "BAD  leak: 1 of 7 test pictures has the same pixels as a training picture, such as test/cat/leak.png and "
        "train/cat/0.png",
    ]
    last = tuner("search", "bad", "--gpus", "0", "--strict-data", code=1)
    assert last.startswith(f"error: {tuner.home}/bad has 1 file that is no picture: train/cat/page.png (not a picture)")
    assert "no data set 'gone.csv'" in tuner("data", "check", "gone.csv", code=2)
