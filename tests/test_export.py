"""A real, small model, trained on the digits and exported: what is in each file."""

import hashlib
import json
import os
import re
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from sklearn.metrics import log_loss

from tests.trained import CONSTANTS, PARAMS, train
from tuner import export
from tuner.bundle.checking import Parity
from tuner.export import FILES, Exported, export_best
from tuner.exported_model import load_exported
from tuner.training.config import Hyperparameters
from tuner.training.dataspec import DataSpec
from tuner.training.objectives import OBJECTIVES
from tuner.training.testsplit import load_test_split

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def exported(study, cache, tmp_path_factory):
    return export_best(study, tmp_path_factory.mktemp("out") / "best", cache=cache, say=lambda line: None)


@pytest.fixture(scope="module")
def test_split(study, cache):
    loaded = load_test_split(study.spec.data, cache)
    return loaded.images, loaded.labels


def metrics_of(exported):
    return json.loads((exported.folder / "metrics.json").read_text())


def run_onnx(folder, images):
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    return session.run(None, {"images": images})[0]


def test_the_folder_holds_the_promised_files_and_nothing_else_is_left_beside_it(exported):
    assert sorted(path.name for path in exported.folder.iterdir()) == sorted(FILES)
    assert list(exported.folder.parent.iterdir()) == [exported.folder]


def test_what_is_returned_is_what_metrics_json_says(exported, study):
    metrics, kept = metrics_of(exported), study.trials[1].best_checkpoint
    assert exported == Exported(
        exported.folder,
        1,
        kept["epoch"],
        kept["score"],
        metrics["accuracy"],
        metrics["f1"],
        "model.onnx",
        Parity(**metrics["parity"]),
    )
    scores = metrics["validation"].pop("scores")
    assert metrics["validation"] == {
        "score": kept["score"],
        "epoch": kept["epoch"],
        "trial": 1,
        "metric": "val_accuracy",
    }
    assert (list(scores), scores["val_accuracy"]) == (list(OBJECTIVES), kept["score"])


def test_the_metrics_are_those_of_the_onnx_file_on_the_test_split(exported, study, test_split):
    images, labels = test_split
    metrics = metrics_of(exported)
    predictions = run_onnx(exported.folder, images).argmax(axis=1)
    matrix = np.zeros((10, 10), int)
    np.add.at(matrix, (labels, predictions), 1)
    assert metrics["confusion_matrix"] == matrix.tolist()
    assert metrics["accuracy"] == np.mean(predictions == labels)
    assert metrics["loss"] == pytest.approx(log_loss(labels, run_onnx(exported.folder, images)), rel=1e-5)
    assert metrics["accuracy"] > 0.6, "two epochs are enough for that, or what is exported is not what was trained"
    assert list(metrics["per_class"]) == [str(digit) for digit in range(10)]
    assert (metrics["test_size"], metrics["test_source"]) == (359, "a fixed stratified 20% of scikit-learn's digits")
    assert metrics["sha256"] == {
        **{
            name: hashlib.sha256((exported.folder / name).read_bytes()).hexdigest()
            for name in ("model.onnx", "weights.safetensors")
        },
        "checkpoint": study.trials[1].best_checkpoint["sha256"],
    }


def test_the_onnx_file_declares_its_input_output_and_metadata(exported):
    session = onnxruntime.InferenceSession(exported.folder / "model.onnx")
    (given,), (gives,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["N", 8, 8, 1])
    assert (gives.name, gives.type, gives.shape) == ("probabilities", "tensor(float)", ["N", 10])
    assert session.get_modelmeta().custom_metadata_map == {
        "classes": json.dumps([str(digit) for digit in range(10)]),
        "study": "numbers",
        "trial": "1",
    }


def test_the_onnx_file_is_alone_and_names_no_path_of_this_machine(exported):
    content = (exported.folder / "model.onnx").read_bytes()
    tensors = onnx.load(exported.folder / "model.onnx", load_external_data=False).graph.initializer
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in tensors)
    assert b".py" not in content
    assert os.fsencode(os.path.dirname(export.__file__)) not in content


@pytest.mark.parametrize("count", [1, 3, 64])
def test_any_number_of_pictures_goes_through_and_pytorch_and_onnxruntime_agree(exported, test_split, count):
    images = test_split[0][:count]
    with torch.inference_mode():
        expected = load_exported(exported.folder)(torch.from_numpy(images)).numpy()
    found = run_onnx(exported.folder, images)
    assert found.shape == (count, 10)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_parity_is_measured_on_the_whole_test_split(exported):
    parity = exported.parity
    assert (parity.images, parity.differing_argmax, parity.tolerance) == (359, 0, 1e-4)
    assert 0 <= parity.max_abs_difference <= 1e-4


def test_labels_txt_has_the_classes_in_the_order_of_the_probabilities(exported, test_split):
    labels = (exported.folder / "labels.txt").read_text().splitlines()
    images, truth = test_split
    chosen = [labels[index] for index in run_onnx(exported.folder, images).argmax(axis=1)]
    assert np.mean([name == str(digit) for name, digit in zip(chosen, truth, strict=True)]) == exported.test_accuracy


def test_config_json_has_what_rebuilds_the_network(exported):
    config = json.loads((exported.folder / "config.json").read_text())
    assert config["hyperparameters"] == Hyperparameters.from_params({**CONSTANTS, **PARAMS}).as_dict()
    assert config["input"] == {"height": 8, "width": 8, "channels": 1}
    assert config["classes"] == [str(digit) for digit in range(10)]
    assert (len(config["mean"]), len(config["std"])) == (1, 1)


def test_the_snippet_of_the_model_card_runs_as_it_stands(exported, test_split, tmp_path):
    (snippet,) = re.findall(r"```python\n(.*?)```", (exported.folder / "README.md").read_text(), re.DOTALL)
    images, _ = test_split
    Image.fromarray(images[0, :, :, 0]).save(tmp_path / "picture.png")
    for name in ("model.onnx", "predict.py"):
        (tmp_path / name).symlink_to(exported.folder / name)
    (tmp_path / "snippet.py").write_text(snippet)
    ran = subprocess.run([sys.executable, "snippet.py"], cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    expected = run_onnx(exported.folder, images[:1])[0]
    best = {"class": str(expected.argmax()), "probability": float(expected.max())}
    assert ran.stdout.startswith(f"picture.png [{best}, "), ran.stdout


def test_the_exporter_says_nothing_but_progress_through_say(study, exported, cache, tmp_path, capfd):
    lines = []
    export_best(study, tmp_path / "best", cache=cache, say=lines.append)
    kept = study.trials[1].best_checkpoint
    assert lines[:2] == [
        f"exporting trial 1, epoch {kept['epoch']} (val_accuracy {kept['score']:.4f})",
        "comparing model.onnx, weights.safetensors with PyTorch on 359 test pictures",
    ]
    assert [line.partition(" (PyTorch ")[0] for line in lines[2:]] == [
        f"{name}: accuracy {metrics_of(exported)['accuracy']:.4f}" for name in ("model.onnx", "weights.safetensors")
    ]
    assert capfd.readouterr() == ("", "")


def test_a_folder_of_colour_pictures_is_exported_also_when_its_class_names_are_no_utf_8(tmp_path):
    names = ["a|b", os.fsdecode(b"caf\xe9")]
    generator = np.random.RandomState(0)
    for name, brightness in zip(names, (0, 128), strict=True):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(20):
            pixels = generator.randint(brightness, brightness + 128, (14, 20, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.png")
    spec = DataSpec(dataset=str(tmp_path / "pets"), data_dir="/nowhere")
    trained = train(spec, tmp_path / "cache", tmp_path / "storage")
    out = tmp_path / "best"
    exported = export_best(trained, out, cache=tmp_path / "cache", say=lambda line: None)
    assert exported.parity.images == 6
    assert run_onnx(out, np.zeros((2, 32, 32, 3), np.uint8)).shape == (2, 2)
    assert (out / "labels.txt").read_bytes() == b"a|b\ncaf\xe9\n"
    assert list(metrics_of(exported)["per_class"]) == names
    assert b"| a\\|b | " in (out / "README.md").read_bytes()
