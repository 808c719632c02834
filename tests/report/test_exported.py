"""The exported model in a report: only one of this study, with the mistakes that it really makes."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from tests.factories import new_ref, new_spec
from tests.report.studies import detail_of, trial_of
from tuner.errors import UsageError
from tuner.exported_model import WEIGHTS_FILE, write_config
from tuner.report import exported
from tuner.report.exported import find_export
from tuner.training import models
from tuner.training.cache import describe
from tuner.training.config import Hyperparameters
from tuner.training.metrics import classification_report
from tuner.training.testsplit import load_test_split

HYPERPARAMETERS = {"depth": 2, "width": 8}


@pytest.fixture(scope="module")
def study(cache):
    spec = new_spec()
    fingerprint = describe(spec.data, cache).fingerprint
    trial = trial_of(
        0, (0.5, 0.9), state="complete", best_checkpoint={**new_ref(epoch=2, score=0.9), "sha256": "b" * 64}
    )
    return detail_of(trial, data_fingerprint=fingerprint).study


@pytest.fixture
def bundle(tmp_path, study, cache):
    """An export of an untrained network, as `tuner export-best` would write it as far as a report reads it."""
    torch.manual_seed(0)
    info, test = describe(study.spec.data, cache), load_test_split(study.spec.data, cache)
    network = models.build(Hyperparameters.from_params(HYPERPARAMETERS), (1, 8, 8), 10)
    description = {
        "hyperparameters": Hyperparameters.from_params(HYPERPARAMETERS).as_dict(),
        "input": {"height": 8, "width": 8, "channels": 1},
        "classes": list(info.classes),
        "mean": [127.0],
        "std": [64.0],
    }
    folder = tmp_path / "test-best"
    folder.mkdir()
    write_config(folder, description)
    (folder / WEIGHTS_FILE).write_bytes(safetensors.torch.save(network.state_dict()))
    metrics = {
        **classification_report(test.labels, np.zeros_like(test.labels), info.classes),
        "validation": {"score": 0.9, "epoch": 2, "trial": 0, "metric": "val_accuracy"},
        "test_size": len(test.labels),
        "sha256": {"checkpoint": "b" * 64},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def pixels(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))


def test_the_mistakes_are_the_ones_of_which_the_model_is_surest(study, bundle, cache):
    model = find_export(study, bundle, cache)
    assert model.note == ""
    assert len(model.mistakes) == exported.MISTAKES < model.wrong
    sure = [mistake.confidence for mistake in model.mistakes]
    assert sure == sorted(sure, reverse=True)
    assert all(mistake.true != mistake.predicted for mistake in model.mistakes)
    assert all(mistake.in_truth <= mistake.confidence for mistake in model.mistakes)
    assert [bool(mistake.heat) for mistake in model.mistakes] == [True] * 12 + [False] * 12
    first = model.mistakes[0]
    assert pixels(first.picture).size == (8, 8)
    assert (pixels(first.heat).size, pixels(first.heat).mode) == ((112, 112), "RGB")


def test_an_export_in_its_usual_place_is_found_and_its_absence_is_no_error(study, bundle, cache, monkeypatch, tmp_path):
    monkeypatch.chdir(bundle.parent)
    assert find_export(study, None, cache).folder.name == "test-best"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert find_export(study, None, cache) is None


def test_what_is_no_export_of_this_study_is_refused(study, bundle, cache, tmp_path):
    with pytest.raises(UsageError, match="holds no exported model"):
        find_export(study, tmp_path / "none", cache)
    metrics = json.loads((bundle / "metrics.json").read_text())
    for changed, words in [
        (
            {**metrics, "sha256": {"checkpoint": "c" * 64}, "validation": {"trial": 0, "epoch": 1, "score": 0.1}},
            "not of study",
        ),
        ({**metrics, "confusion_matrix": []}, "is not the metrics"),
        ([], "is not the metrics"),
    ]:
        (bundle / "metrics.json").write_text(json.dumps(changed))
        with pytest.raises(UsageError, match=words):
            find_export(study, bundle, cache)
        assert find_export(study, None, cache) is None


def test_an_export_whose_data_changed_keeps_its_figures(bundle, cache):
    trial = trial_of(0, (0.5, 0.9), state="complete")
    model = find_export(detail_of(trial).study, bundle, cache)
    assert model.metrics["test_size"] == 359
    assert (model.mistakes, "not the one" in model.note) == ((), True)
