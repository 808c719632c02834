"""`--fixed`: the first configuration of a space and nothing else, as a user has it; with one sigmoid output, and ended
by a plateau."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from tests.program import new_program

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
SPACE = """
[space]
lr = { type = "float", low = 1e-4, high = 1e-2, log = true }
width = { type = "int", low = 4, high = 8 }
[constants]
output = "sigmoid"
optimizer = "adam"
l2 = 0.0
depth = 1
batch_size = 16
stop_patience = 2
[start]
width = 6
lr = 3e-3
[input]
size = 12
[search]
trials = 9
max_epochs = 40
"""


@pytest.fixture(scope="module")
def tuner():
    with new_program() as program:
        rng = np.random.default_rng(0)
        for name, level in (("dark", 60), ("light", 190)):
            folder = program.home / "pictures" / name
            folder.mkdir(parents=True)
            for number in range(60):
                pixels = rng.normal(level, 30, (16, 16)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
        (program.home / "mine.toml").write_text(SPACE)
        (program.home / "bare.toml").write_text('[space]\nlr = { type = "float", low = 0.01, high = 0.1 }\n')
        yield program


def test_fixed_trains_exactly_the_start_until_it_is_on_a_plateau_and_exports_two_columns(tuner):
    fixed = ["--space", "mine.toml", "--fixed", "--trials", "2", "--gpus", "0", "--name", "mine"]
    printed = tuner("search", "pictures", *fixed)
    assert "pictures of 12 x 12 x 1" in printed
    assert "2 trials of up to 40 epochs, never compared" in printed
    assert "(no better score for 2 epochs)" in printed
    trials = json.loads(tuner("trials", "mine", "--json"))
    for trial in trials:
        assert (trial["state"], trial["params"]) == ("complete", {"lr": 0.003, "width": 6})
        assert trial["reason"] == {"kind": "plateau", "waited": 2}
        scores = [score for _, score in trial["values"]]
        assert len(scores) < 40
        assert scores.index(max(scores)) == len(scores) - 3
    assert len(trials) == 2

    tuner("export-best", "mine", "--out", "best")
    pixels = np.full((3, 12, 12, 1), 190, np.uint8)
    pixels[0] = 60
    session = onnxruntime.InferenceSession(tuner.home / "best" / "model.onnx")
    (probabilities,) = session.run(["probabilities"], {"images": pixels})
    assert probabilities.argmax(axis=1).tolist() == [0, 1, 1]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["digits", "--space", "mine.toml"], ["output = 'sigmoid'", "the data set has 10", "'softmax'"]),
        (["digits", "--space", "bare.toml", "--fixed"], ["bare.toml has no [start] table", "--fixed"]),
        (["digits", "--fixed"], ["--fixed needs --space", "[start]"]),
    ],
)
def test_what_cannot_be_trained_is_refused_before_there_is_a_study(tuner, arguments, parts):
    line = tuner("search", *arguments, "--gpus", "0", code=2)
    assert [part for part in parts if part not in line] == []
