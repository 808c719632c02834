"""All formats and precisions of one small trained network, exported at once."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.torch
import torch

from tests.trained import train, write_colours
from tuner.bundle import checking, writing
from tuner.bundle.formats import Formats
from tuner.bundle.writing import CALIBRATION_PICTURES, calibration_pictures
from tuner.errors import ExportError
from tuner.export import FILES, export_best
from tuner.exported_model import load_exported
from tuner.training.cache import open_cached
from tuner.training.dataspec import DataSpec

EVERYTHING = Formats(("onnx", "pt2", "safetensors"), half="fp16", quantize="int8", max_drop=5)
LESS_EXACT = {"model-fp16.onnx", "model-fp16.pt2", "weights-fp16.safetensors", "model-int8.onnx"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("formats")


@pytest.fixture(scope="module")
def study(folder):
    spec = DataSpec(dataset=str(write_colours(folder / "colours")), data_dir="/nowhere")
    return train(spec, folder / "cache", folder / "storage", epochs=20)


def export(study, folder, name, formats):
    return export_best(study, folder / name, cache=folder / "cache", formats=formats, say=lambda line: None)


@pytest.fixture(scope="module")
def everything(study, folder):
    return export(study, folder, "all", EVERYTHING)


@pytest.fixture(scope="module")
def pictures(study, folder):
    return np.array(open_cached(study.spec.data, folder / "cache").images[:16])


@pytest.fixture(scope="module")
def expected(everything, pictures):
    with torch.inference_mode():
        return load_exported(everything.folder)(torch.from_numpy(pictures)).numpy()


def test_each_file_is_there_measured_and_smaller_where_it_is_less_exact(everything):
    metrics = json.loads((everything.folder / "metrics.json").read_text())
    exact = {"model.onnx", "model.pt2", "weights.safetensors"}
    assert {path.name for path in everything.folder.iterdir()} == {*FILES, *exact, *LESS_EXACT}
    assert set(metrics["models"]) == {*exact, *LESS_EXACT}
    for name, entry in metrics["models"].items():
        assert entry["bytes"] == (everything.folder / name).stat().st_size
        assert metrics["sha256"][name] == entry["sha256"]
        assert entry["accuracy_pytorch"] - entry["accuracy"] <= 0.05
        assert entry["accuracy"] > 0.9, "colours are learnt at once, or what is measured is not what was trained"
        assert all(0 < times["median_ms"] <= times["p99_ms"] for times in entry["latency"].values())
        assert entry["parity"]["images"] == metrics["test_size"]
    assert everything.file == metrics["file"] == "model.onnx"
    # Weights are little of so small a network: its files say more of the graph.
    assert (
        metrics["models"]["weights-fp16.safetensors"]["bytes"] < 0.7 * metrics["models"]["weights.safetensors"]["bytes"]
    )


@pytest.mark.parametrize("name", ["model-fp16.onnx", "model-int8.onnx"])
def test_less_exact_onnx_files_take_the_same_and_give_nearly_the_same(everything, pictures, expected, name):
    session = onnxruntime.InferenceSession(everything.folder / name)
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["N", 32, 32, 3])
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == ["blue", "green", "red"]
    found = session.run(["probabilities"], {"images": pictures})[0]
    assert 0 < np.abs(found - expected).max() < 0.1
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-3)


def test_the_int8_file_computes_in_8_bits_and_keeps_its_probabilities_whole(everything):
    model = onnx.load(everything.folder / "model-int8.onnx")
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    assert onnx.TensorProto.INT8 in kinds
    quantized = [node for node in model.graph.node if node.op_type == "Conv"]
    made_by = {output: node.op_type for node in model.graph.node for output in node.output}
    assert quantized
    assert all({made_by[name] for name in node.input[:2]} == {"DequantizeLinear"} for node in quantized)
    assert made_by["probabilities"] == "Softmax"


@pytest.mark.parametrize("name", ["model.pt2", "model-fp16.pt2"])
def test_pt2_needs_no_code_of_the_network_and_names_no_path_of_this_machine(everything, pictures, expected, name):
    path = everything.folder / name
    program = torch.export.load(path).module()
    for count in (1, 5, 16):
        with torch.inference_mode():
            found = program(torch.from_numpy(pictures[:count])).numpy()
        np.testing.assert_allclose(found, expected[:count], atol=1e-5 if name == "model.pt2" else 0.02)
    extra: dict[str, object] = {"metadata.json": ""}
    torch.export.load(path, extra_files=extra)
    assert json.loads(json.loads(str(extra["metadata.json"]))["classes"]) == ["blue", "green", "red"]
    here = os.fsencode(Path(writing.__file__).parent.parent.parent)
    contents = [zipfile.ZipFile(path).read(inside) for inside in zipfile.ZipFile(path).namelist()]
    assert [content for content in contents if here in content or b"site-packages" in content] == []


def test_half_weights_are_loaded_by_name(everything, pictures, expected):
    stored = safetensors.torch.load_file(everything.folder / "weights-fp16.safetensors")
    assert {tensor.dtype for tensor in stored.values()} <= {torch.float16, torch.int64}
    with torch.inference_mode():
        classifier = load_exported(everything.folder, weights="weights-fp16.safetensors")
        found = classifier(torch.from_numpy(pictures)).numpy()
    assert 0 < np.abs(found - expected).max() < 0.02


def test_without_onnx_there_is_nothing_to_predict_with_and_the_first_file_gives_the_figures(study, folder):
    exported = export(study, folder, "light", Formats(("pt2",), half="bf16"))
    names = {path.name for path in exported.folder.iterdir()}
    assert {"model.pt2", "model-bf16.pt2"} < names
    assert names.isdisjoint({"model.onnx", "weights.safetensors", "predict.py", "requirements.txt"})
    assert exported.file == "model.pt2"
    assert "predict.py" not in (exported.folder / "README.md").read_text()


def test_a_file_that_loses_too_much_leaves_nothing_behind(study, folder, monkeypatch):
    def open_wrongly(folder, variant, build, threads=0):
        run = real(folder, variant, build, threads)
        return (lambda images: run(images)[:, [1, 2, 0]]) if variant.precision == "int8" else run

    real = checking.open_variant
    monkeypatch.setattr(checking, "open_variant", open_wrongly)
    with pytest.raises(ExportError, match=r"model-int8\.onnx has accuracy .* points less, so nothing was written"):
        export(study, folder, "bad", Formats(quantize="int8"))
    assert not (folder / "bad").exists()


def test_the_export_measures_on_the_test_split_and_calibrates_on_validation_pictures(study, folder, monkeypatch):
    seen = {}
    calibrated, run_all = writing._quantize, checking.run_all

    def noting_calibration(exact, path, calibration, metadata):
        seen["calibration"] = calibration
        calibrated(exact, path, calibration, metadata)

    def noting_images(run, images):
        seen["measured"] = images
        return run_all(run, images)

    monkeypatch.setattr(writing, "_quantize", noting_calibration)
    monkeypatch.setattr(checking, "run_all", noting_images)
    export(study, folder, "noted", Formats(quantize="int8", max_drop=100))
    cached = open_cached(study.spec.data, folder / "cache")
    _, validation = cached.split(study.spec.data)
    np.testing.assert_array_equal(seen["calibration"], cached.images[validation])
    known = {image.tobytes() for image in cached.images}
    assert known.isdisjoint(image.tobytes() for image in seen["measured"])


def test_calibration_takes_pictures_from_the_whole_split_and_not_too_many():
    images = np.arange(3000, dtype=np.uint16).reshape(3000, 1, 1, 1)
    chosen = calibration_pictures(images, np.arange(0, 3000)).ravel()
    assert (len(chosen), chosen[0], chosen[-1]) == (CALIBRATION_PICTURES, 0, 2999)
    assert np.diff(chosen.astype(int)).max() <= 3
    assert calibration_pictures(images, np.array([5, 9])).ravel().tolist() == [5, 9]
