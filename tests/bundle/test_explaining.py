from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tuner.bundle.explaining import explain, overlay
from tuner.bundle.predict import Classifier
from tuner.cli import app
from tuner.errors import DataError, ExportError, UsageError


def test_what_is_cold_stays_as_it_is_and_what_is_hot_is_coloured():
    picture = np.full((40, 40, 3), 100, np.uint8)
    heat = np.zeros((4, 4), np.float32)
    heat[0, 3] = 1
    seen = overlay(picture, heat)
    assert (seen[-1, 0] == 100).all()
    assert seen[0, -1, 0] > 150 > 100 > seen[0, -1, 2], "red in the corner that is hot"


@pytest.mark.parametrize("name", ["grey_bundle", "colour_bundle"])
def test_the_class_explained_is_the_one_predicted_and_the_picture_shows_both(name, odd_pictures, request):
    bundle = request.getfixturevalue(name)
    classifier = Classifier(bundle / "model.onnx")
    for prediction in classifier.predict(odd_pictures[::4]):
        found = explain(bundle, prediction.path)
        assert found.predicted == classifier.classes[prediction.probabilities.argmax()]
        assert found.probability == pytest.approx(prediction.probabilities.max(), abs=1e-5)
        assert found.picture.size == (768, 384)
        left, right = np.split(np.asarray(found.picture), 2, axis=1)
        assert not np.array_equal(left, right)


def test_the_heat_is_where_the_colour_is(colour_bundle, tmp_path):
    # Nearly grey, but for a green square on the left.
    pixels = np.random.default_rng(1).integers(90, 110, (64, 64, 3)).astype(np.uint8)
    pixels[20:44, 4:28] = (40, 250, 40)
    Image.fromarray(pixels).save(tmp_path / "spot.png")
    found = explain(colour_bundle, tmp_path / "spot.png")
    assert found.predicted == "green"
    left, right = np.split(np.asarray(found.picture).astype(int), 2, axis=1)
    changed = np.abs(left - right).sum(axis=(0, 2))
    assert changed[: len(changed) // 2].sum() > changed[len(changed) // 2 :].sum()


def test_the_command_writes_a_png_and_says_what_it_is_of(colour_bundle, odd_pictures, tmp_path):
    out = tmp_path / "cam.png"
    result = CliRunner().invoke(app, ["explain", str(colour_bundle), str(odd_pictures[0]), "--out", str(out)])
    assert (result.exit_code, Image.open(out).format) == (0, "PNG")
    assert result.stdout.startswith(f"{out}: what speaks for ")


def test_what_cannot_be_explained_is_said_in_one_line(colour_bundle, odd_pictures, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no")
    with pytest.raises(DataError, match=r"broken\.png is no picture that can be read: not a picture"):
        explain(colour_bundle, tmp_path / "broken.png")
    shutil.copytree(colour_bundle, tmp_path / "light", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(ExportError, match="holds no exported model"):
        explain(tmp_path / "light", odd_pictures[0])
    for folder, said in ((tmp_path, "has no config.json"), (tmp_path / "nowhere", "no folder .*nowhere")):
        wrong = CliRunner().invoke(
            app, ["explain", str(folder), str(odd_pictures[0]), "--out", str(tmp_path / "cam.png")]
        )
        assert isinstance(wrong.exception, UsageError)
        assert re.search(f"{said}.*: give (one|a folder) that `tuner export-best` wrote", str(wrong.exception))
    command = ["explain", str(colour_bundle), str(odd_pictures[0]), "--out", str(tmp_path / "absent" / "cam.png")]
    result = CliRunner().invoke(app, command)
    assert str(result.exception).startswith(f"cannot write {tmp_path / 'absent' / 'cam.png'}: No such file")
