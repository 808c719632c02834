"""A real, small model, trained on the digits and exported: each file, and each way in which nothing must be left."""

import copy
import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from sklearn.metrics import log_loss

from tests.trained import CONSTANTS, PARAMS, train
from tuner import export
from tuner.bundle import writing
from tuner.bundle.checking import Parity, compare
from tuner.errors import CheckpointError, ExportError, UsageError
from tuner.export import FILES, Exported, export_best
from tuner.exported_model import load_exported, write_onnx
from tuner.training.config import Hyperparameters
from tuner.training.dataspec import DataSpec
from tuner.training.objectives import OBJECTIVES
from tuner.training.testsplit import load_test_split

pytestmark = pytest.mark.usefixtures("one_thread")

DATA = DataSpec(dataset="digits", data_dir="/nowhere")


@pytest.fixture(scope="module")
def study(cache, tmp_path_factory):
    return train(DATA, cache, tmp_path_factory.mktemp("storage"))


@pytest.fixture(scope="module")
def exported(study, cache, tmp_path_factory):
    return export_best(study, tmp_path_factory.mktemp("out") / "best", cache=cache, say=lambda line: None)


@pytest.fixture(scope="module")
def test_split(cache):
    loaded = load_test_split(DATA, cache)
    return loaded.images, loaded.labels


def changed(study, **changes):
    """The study with its complete trial changed."""
    return dataclasses.replace(study, trials=(study.trials[0], dataclasses.replace(study.trials[1], **changes)))


def metrics_of(exported):
    return json.loads((exported.folder / "metrics.json").read_text())


def run_onnx(folder, images):
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    return session.run(None, {"images": images})[0]


def refuses(error, study, out, cache, *, force=False):
    """Export, expect one line of `error` and a parent folder that is as it was before; gives the line."""
    before = {path: path.is_file() and path.read_bytes() for path in out.parent.rglob("*")}
    with pytest.raises(error) as caught:
        export_best(study, out, cache=cache, force=force, say=lambda line: None)
    assert {path: path.is_file() and path.read_bytes() for path in out.parent.rglob("*")} == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What is written


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


# What is refused, and then nothing is written


def test_without_a_checkpoint_the_error_says_what_to_do(study, cache, tmp_path):
    stopped = dataclasses.replace(changed(study, best_checkpoint=None), trials_wanted=3)
    running = dataclasses.replace(stopped, driver={"host": "here"})
    complete = changed(study, best_checkpoint=None)
    assert [refuses(ExportError, each, tmp_path / "best", cache) for each in (running, stopped, complete)] == [
        "study numbers has no trained weights to export: wait for its first checkpoint",
        "study numbers has no trained weights to export: go on with: tuner resume numbers",
        "study numbers has no trained weights to export: no trial ended well, see: tuner trials numbers",
    ]


def test_a_checkpoint_with_one_byte_changed_is_not_exported(study, cache, tmp_path):
    kept = study.trials[1].best_checkpoint
    content = bytearray(Path(kept["path"]).read_bytes())
    content[-1] ^= 1
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(content)
    line = refuses(
        CheckpointError, changed(study, best_checkpoint={**kept, "path": str(damaged)}), tmp_path / "b", cache
    )
    assert f"the checkpoint {damaged} has changed since it was written" in line
    assert line.endswith("to export trial 1, put that file back as the search wrote it, or search again")


def test_a_missing_checkpoint_is_named(study, cache, tmp_path):
    kept = {**study.trials[1].best_checkpoint, "path": str(tmp_path / "gone.safetensors")}
    line = refuses(CheckpointError, changed(study, best_checkpoint=kept), tmp_path / "best", cache)
    assert line.startswith(f"cannot read the checkpoint {tmp_path / 'gone.safetensors'}: No such file or directory;")


@pytest.mark.parametrize("wrong", [{"score": 0.999}, {"epoch": 9}])
def test_weights_whose_score_the_trial_never_reported_are_not_exported(study, cache, tmp_path, wrong):
    kept = {**study.trials[1].best_checkpoint, **wrong}
    line = refuses(ExportError, changed(study, best_checkpoint=kept), tmp_path / "best", cache)
    assert f"claim score {kept['score']} at epoch {kept['epoch']}, which the trial never reported" in line


def test_a_data_set_that_changed_since_the_search_is_refused(study, cache, tmp_path):
    other = dataclasses.replace(study, spec=dataclasses.replace(study.spec, data_fingerprint="f" * 64))
    line = refuses(ExportError, other, tmp_path / "best", cache)
    assert line.startswith("data set digits is not the one that study numbers was created with")


def test_an_onnx_file_that_disagrees_with_pytorch_fails_the_export(study, cache, tmp_path, monkeypatch):
    def write_perturbed(path, classifier, input_shape, metadata):
        with torch.no_grad():
            perturbed = copy.deepcopy(classifier)
            perturbed.network[-1].bias[0] += 0.01
        write_onnx(path, perturbed, input_shape, metadata)

    monkeypatch.setattr(writing, "write_onnx", write_perturbed)
    line = refuses(ExportError, study, tmp_path / "best", cache)
    assert re.search(r"model\.onnx and PyTorch disagree .* differ by up to [\d.]+e-03 \(allowed are 0\.0001\)", line)


def test_numbers_that_are_none_never_agree():
    nothing = np.full((2, 3), np.nan, np.float32)
    with pytest.raises(ExportError, match="differ by up to nan"):
        compare("model.onnx", nothing, nothing)


def test_another_class_is_accepted_only_between_classes_that_tie():
    pytorch = np.array([[0.50001, 0.49999], [0.9, 0.1]], np.float32)
    onnx_tie = np.array([[0.49999, 0.50001], [0.9, 0.1]], np.float32)
    parity = compare("model.onnx", onnx_tie, pytorch)
    assert (parity.images, parity.differing_argmax) == (2, 1)
    with pytest.raises(ExportError, match="1 of 2 pictures get another class"):
        compare("model.onnx", np.array([[0.50001, 0.49999], [0.1, 0.9]], np.float32), pytorch)


# Where it is written


def test_an_empty_folder_is_filled_and_parents_are_made(study, cache, tmp_path):
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "new" / "deep"):
        export_best(study, out, cache=cache, say=lambda line: None)
        assert sorted(path.name for path in out.iterdir()) == sorted(FILES)


def test_a_folder_with_something_in_it_is_refused_without_force(study, cache, tmp_path):
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "notes.txt").write_text("mine")
    line = refuses(UsageError, study, tmp_path / "best", cache)
    assert line == f"{tmp_path / 'best'} is not empty: give another folder with --out, or replace it with --force"


def test_force_replaces_an_earlier_export_as_a_whole(study, cache, tmp_path):
    out = tmp_path / "best"
    out.mkdir()
    for name in (*FILES, "left-over.txt"):
        (out / name).write_text("old")
    export_best(study, out, cache=cache, force=True, say=lambda line: None)
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    assert (out / "labels.txt").read_text() != "old"
    assert list(tmp_path.iterdir()) == [out]


def test_force_never_deletes_a_folder_that_is_no_export(study, cache, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("mine")
    line = refuses(UsageError, study, tmp_path / "home", cache, force=True)
    assert f"{tmp_path / 'home'} is not an earlier export (it has no config.json)" in line


def test_a_file_in_the_way_is_refused_even_with_force(study, cache, tmp_path):
    (tmp_path / "best").write_text("mine")
    line = refuses(UsageError, study, tmp_path / "best", cache, force=True)
    assert line == f"{tmp_path / 'best'} is a file: give a folder for the export with --out"
    assert refuses(UsageError, study, tmp_path / "best" / "deeper", cache) == line


def test_when_the_new_folder_cannot_take_the_place_the_old_export_is_put_back(study, cache, tmp_path, monkeypatch):
    out = tmp_path / "best"
    out.mkdir()
    for name in FILES:
        (out / name).write_text("old")
    rename = os.rename

    def rename_failing_once(source, destination):
        if os.path.basename(source) == "new":
            raise OSError(28, "No space left on device")
        rename(source, destination)

    monkeypatch.setattr(os, "rename", rename_failing_once)
    line = refuses(ExportError, study, out, cache, force=True)
    assert line == f"cannot write the export to {out}: No space left on device"
