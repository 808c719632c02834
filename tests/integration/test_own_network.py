"""A network of one's own from search to export: as a user has it, in a folder with two modules and a space."""

from __future__ import annotations

import json

import pytest
import torch

from tests.program import new_program
from tuner.errors import ExportError
from tuner.exported_model import load_exported
from tuner.training.own_model import import_here

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

NETWORK = """
from torch import nn

from layers import block

def build(params, input_shape, classes):
    if params["width"] == 12:
        raise ValueError("not with width 12")
    return nn.Sequential(block(input_shape[0], params["width"]), nn.Flatten(), nn.LazyLinear(classes))
"""
LAYERS = """
from torch import nn

def block(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3), nn.BatchNorm2d(outputs), nn.ELU(), nn.MaxPool2d(2))
"""
SPACE = """
[space]
width = { type = "choice", choices = [8, 12, 16] }
lr = { type = "float", low = 0.05, high = 0.1 }
[constants]
batch_size = 64
"""
FIRST = """
[[trial]]
width = 8
[[trial]]
width = 12
[[trial]]
width = 16
"""


@pytest.fixture(scope="module")
def tuner():
    with new_program() as program:
        for name, text in (("net.py", NETWORK), ("layers.py", LAYERS), ("s.toml", SPACE), ("first.toml", FIRST)):
            (program.home / name).write_text(text)
        yield program


def test_it_is_searched_resumed_with_the_source_of_its_study_and_exported(tuner):
    words = ["--space", "s.toml", "--enqueue", "first.toml", "--gpus", "0", "--trials", "3", "--max-epochs", "3"]
    said = tuner("search", "digits", "--model", "net:build", *words, "--name", "mine")
    assert "the study keeps layers.py, net.py" in said
    assert "study mine: 2 complete, 1 failed" in said or "study mine: 1 complete, 1 pruned, 1 failed" in said
    table = tuner("trials", "mine")
    assert "error: ValueError: not with width 12 (net.py, line 8)" in table
    assert 'model/net.py", line 8, in build' in table.split("\ntrial 1 failed by\n")[1]

    (tuner.home / "layers.py").write_text("raise ImportError('gone')")
    said = tuner("resume", "mine", "--trials", "4")
    assert "note: layers.py here is not what the study began with" in said
    assert json.loads(tuner("status", "mine", "--json"))["trials"]["failed"] in (1, 2)

    said = tuner("export-best", "mine", "--out", "best")
    assert "test accuracy 0.9" in said
    best = tuner.home / "best"
    card = (best / "README.md").read_text()
    assert "A network built by the function `net:build`, whose source is in `model/`" in card
    assert str(tuner.home) not in card + (best / "config.json").read_text()
    with pytest.raises(ExportError, match="the network is one of net:build, which is code and not run unasked"):
        load_exported(best)
    classifier = load_exported(best, import_here("net:build", best / "model"))
    assert classifier(torch.zeros(2, 8, 8, 1, dtype=torch.uint8)).shape == (2, 10)
