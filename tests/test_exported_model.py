"""An exported classifier read back from its files, without a study."""

import json

import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch

from tuner.errors import ExportError
from tuner.exported_model import build_classifier, load_exported, write_config, write_onnx
from tuner.training.config import Hyperparameters
from tuner.training.models import build

PLAIN = Hyperparameters(depth=1, width=2)
CLASSIC = Hyperparameters(
    depth=2, width=4, padding="valid", norm="none", head="flatten", dense=8, pooling="avg", activation="tanh"
)
DEEP = Hyperparameters(depth=6, width=2, convs_per_stage=2, activation="gelu", dropout=0.3, dense=8, dense_dropout=0.5)


def description_of(hp, height=13, width=13, channels=3, classes=("cat", "dog", "an owl")):
    return {
        "hyperparameters": hp.as_dict(),
        "input": {"height": height, "width": width, "channels": channels},
        "classes": list(classes),
        "mean": [120.5] * channels,
        "std": [60.25] * channels,
    }


def weights_of(hp, description):
    torch.manual_seed(0)
    shape = description["input"]
    size = (shape["channels"], shape["height"], shape["width"])
    return build(hp, size, len(description["classes"])).state_dict()


def write(folder, description, weights):
    write_config(folder, description)
    (folder / "weights.safetensors").write_bytes(safetensors.torch.save(weights))


def pictures(count, height=13, width=13, channels=3):
    return np.random.RandomState(0).randint(0, 256, (count, height, width, channels)).astype(np.uint8)


@pytest.fixture
def written(tmp_path):
    description = description_of(PLAIN)
    write(tmp_path, description, weights_of(PLAIN, description))
    return tmp_path


def test_a_classifier_normalises_and_gives_probabilities():
    description = description_of(PLAIN)
    weights = weights_of(PLAIN, description)
    images = pictures(5)
    network = build(PLAIN, (3, 13, 13), 3).eval()
    network.load_state_dict(weights)
    normalised = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 120.5) / 60.25
    with torch.inference_mode():
        expected = network(normalised).softmax(dim=1)
        found = build_classifier(description, weights)(torch.from_numpy(images))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("hp", [PLAIN, CLASSIC, DEEP], ids=["plain", "classic", "deep"])
def test_each_kind_of_network_is_the_same_function_in_onnx_and_read_back(hp, tmp_path):
    description = description_of(hp)
    weights = weights_of(hp, description)
    write(tmp_path, description, weights)
    write_onnx(tmp_path / "model.onnx", build_classifier(description, weights), description["input"], {"a": "b"})
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    classifier = load_exported(tmp_path)
    assert not classifier.training
    for count in (1, 3, 64):
        images = pictures(count)
        with torch.inference_mode():
            expected = classifier(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(session.run(None, {"images": images})[0], expected, rtol=0, atol=1e-5)


def test_a_folder_without_an_export_is_named(tmp_path):
    with pytest.raises(ExportError, match=r"holds no exported model: No such file or directory \(.*config.json\)"):
        load_exported(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"{"),
        ("config.json", b"[]"),
        ("config.json", b'{"format": 1}'),
        ("weights.safetensors", b"nothing"),
    ],
)
def test_a_damaged_export_says_so_in_one_line(written, name, content):
    (written / name).write_bytes(content)
    with pytest.raises(ExportError, match="is damaged") as caught:
        load_exported(written)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{"width": 64}, {"width": 0}], ids=["of another network", "out of range"])
def test_a_config_that_does_not_fit_the_weights_is_damage(written, change):
    config = json.loads((written / "config.json").read_text())
    config["hyperparameters"].update(change)
    (written / "config.json").write_text(json.dumps(config))
    with pytest.raises(ExportError, match="is damaged"):
        load_exported(written)


def test_an_export_of_a_newer_version_is_refused(written):
    config = json.loads((written / "config.json").read_text())
    (written / "config.json").write_text(json.dumps({**config, "format": 2}))
    with pytest.raises(ExportError, match="has format 2, this version reads format 1"):
        load_exported(written)
