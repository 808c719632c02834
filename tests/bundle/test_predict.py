"""What an exported model says of picture files is what the trained network says of what training makes of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

from tuner.bundle.predict import Classifier, list_pictures, top
from tuner.cli import app
from tuner.exported_model import load_exported
from tuner.training.reading import decode_into


def predict(*words: object):
    return CliRunner().invoke(app, ["predict", *map(str, words)])


@pytest.mark.parametrize("name", ["grey_bundle", "colour_bundle"])
def test_odd_pictures_get_the_probabilities_of_the_pytorch_path(name, odd_pictures, request):
    bundle: Path = request.getfixturevalue(name)
    network = load_exported(bundle)
    classifier = Classifier(bundle / "model.onnx")
    images = np.zeros((len(odd_pictures), classifier.side, classifier.side, classifier.channels), np.uint8)
    assert [unreadable for _, unreadable in decode_into(images, odd_pictures)] == [[]]
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    predictions = list(classifier.predict(odd_pictures))
    assert [(one.path, one.error) for one in predictions] == [(path, "") for path in odd_pictures]
    found = np.stack([one.probabilities for one in predictions])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert len({row.tobytes() for row in images}) > len(images) // 2, "the pictures differ, or nothing was compared"


def test_a_line_for_each_picture_with_the_most_probable_classes_first(colour_bundle, odd_pictures):
    result = predict(colour_bundle, *odd_pictures[:2], "--top", 2)
    assert (result.exit_code, result.stderr) == (0, "")
    classifier = Classifier(colour_bundle / "model.onnx")
    for line, prediction in zip(result.stdout.splitlines(), classifier.predict(odd_pictures[:2]), strict=True):
        best, second = top(prediction.probabilities, classifier.classes, 2)
        assert best["probability"] >= second["probability"]
        assert line == (
            f"{prediction.path}: {best['class']} {best['probability']:.4f}, "
            f"{second['class']} {second['probability']:.4f}"
        )


def test_json_has_the_same_and_asks_for_no_more_classes_than_there_are(colour_bundle, odd_pictures):
    result = predict(colour_bundle, odd_pictures[0].parent, "--json", "--top", 9)
    entries = json.loads(result.stdout)
    assert [entry["file"] for entry in entries] == [str(path) for path in odd_pictures]
    for entry in entries:
        assert {one["class"] for one in entry["predictions"]} == {"red", "green", "blue"}
        assert sum(one["probability"] for one in entry["predictions"]) == pytest.approx(1, abs=1e-5)


def test_files_that_are_no_pictures_are_named_and_the_others_are_predicted(colour_bundle, odd_pictures, tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.txt").write_text("no picture")
    wanted = [tmp_path / "empty.png", odd_pictures[0], tmp_path / "notes.txt", tmp_path / "absent.png"]
    result = predict(colour_bundle, *wanted)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"error: {wanted[0]}: empty",
        f"error: {wanted[2]}: not a picture",
        f"error: {wanted[3]}: No such file or directory",
    ]
    assert result.stdout.startswith(f"{odd_pictures[0]}: ")
    entries = json.loads(predict(colour_bundle, *wanted, "--json").stdout)
    assert [entry.get("error") for entry in entries] == ["empty", None, "not a picture", "No such file or directory"]


def test_more_pictures_than_go_in_at_once_keep_their_order(colour_bundle, odd_pictures):
    classifier = Classifier(colour_bundle / "model.onnx")
    many = (odd_pictures * 12)[:130]
    found = list(classifier.predict(many))
    assert [one.path for one in found] == many
    for one, first in zip(found[126:], found[:4], strict=True):
        np.testing.assert_allclose(one.probabilities, first.probabilities, atol=1e-6)


def test_a_folder_gives_the_pictures_in_it_and_below_by_name(tmp_path):
    for name in ("b.PNG", "a/z.jpg", "a/c.webp", "notes.txt", ".hidden.png", ".git/x.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    named = tmp_path / "notes.txt"
    assert list_pictures([named, tmp_path]) == [named, *(tmp_path / name for name in ("b.PNG", "a/c.webp", "a/z.jpg"))]


def test_of_equal_probabilities_the_first_class_comes_first():
    found = top(np.array([0.2, 0.4, 0.4], np.float32), ["a", "b", "c"], 2)
    assert [one["class"] for one in found] == ["b", "c"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no folder"),
        (lambda path: path.mkdir(), "has no model.onnx: give a folder that `tuner export-best` wrote with it"),
        (lambda path: path.write_text("no model"), "is no model that tuner exported"),
        (lambda path: onnx.save(onnx.parser.parse_model(FOREIGN), path), "is no model that tuner exported"),
    ],
)
def test_what_holds_no_exported_model_is_named_in_one_line(make, message, tmp_path, odd_pictures):
    make(tmp_path / "it")
    result = predict(tmp_path / "it", odd_pictures[0])
    assert message in str(result.exception)
    assert len(str(result.exception).splitlines()) == 1


FOREIGN = '<ir_version: 8, opset_import: ["" : 17]> g (float[N] x) => (float[N] y) { y = Relu(x) }'


def test_without_torch_pictures_are_predicted_and_measured_and_explain_says_what_is_missing(
    colour_bundle, odd_pictures, tmp_path
):
    shutil.copytree(odd_pictures[0].parent, tmp_path / "data" / "red")
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'ray', 'optuna', 'redis', 'onnx', 'sklearn'])); "
        "from tuner.cli import main; main()"
    )

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True)

    for ran in (run("predict", colour_bundle, odd_pictures[0]), run("evaluate", colour_bundle, tmp_path / "data")):
        assert (ran.returncode, ran.stderr) == (0, "")
    explained = run("explain", colour_bundle, odd_pictures[0], "--out", tmp_path / "cam.png")
    assert explained.returncode == 2
    assert explained.stderr == (
        "error: Grad-CAM needs gradients, and so PyTorch, which is not installed: pip install torch\n"
    )
