"""The network of a search, before the first trial: tried on the first configuration, recorded and kept."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from pathlib import Path

import pytest
import torch

from tests.factories import LR, new_space, new_spec
from tuner.chosen import check_kept, choose_network, keep, parts_of, sources_of, tried
from tuner.errors import CheckpointError, UsageError
from tuner.retention import model_folder
from tuner.space import Space, parse_space
from tuner.spec import StudySpec
from tuner.training.dataspec import DataInfo
from tuner.training.modelspec import ModelSpec
from tuner.training.transfer import WEIGHTS_FILE, new_network

SOURCE = """
from torch import nn

def build(params, input_shape, classes):
    if params["units"] < 0:
        raise ValueError(f"{params['units']} units")
    assert params["name"] == "mine"
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(params["units"]), nn.ReLU(), nn.Linear(params["units"], classes))

def wide(params, input_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
"""
SPACE = """
model = "mynet:build"
[space]
lr = { type = "float", low = 0.01, high = 0.1 }
units = { type = "int", low = 8, high = 8 }
[constants]
name = "mine"
"""
INFO = DataInfo("digits", tuple("0123456789"), 8, 8, 1, 100, 10, False, "0" * 64, "none")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with the module `mynet` in it."""
    (tmp_path / "mynet.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("mynet", None)


def space(text: str = SPACE) -> Space:
    return parse_space(text, source="mine.toml")


def try_out(chosen_space: Space, **changes) -> tuple[StudySpec, dict[str, bytes], str]:
    chosen = choose_network(chosen_space)
    spec = new_spec(space=chosen_space, **changes)
    model, chosen, line = tried(chosen, spec, INFO)
    return dataclasses.replace(spec, model=model), chosen.files, line


def test_the_record_of_a_function_is_its_name_and_its_sources_and_survives_the_store(here):
    spec, files, line = try_out(space())
    sha256 = hashlib.sha256(SOURCE.encode()).hexdigest()
    assert spec.model == ModelSpec("mynet:build", sha256, {"mynet.py": sha256})
    assert files == {"mynet.py": SOURCE.encode()}
    assert line == ("network mynet:build: 610 parameters in the first configuration; the study keeps mynet.py")
    assert StudySpec.from_json(spec.to_json()) == spec
    assert sources_of(space()) == files
    assert sources_of(new_space()) == {}


def test_a_spec_from_before_there_were_other_networks_is_read():
    text = new_spec().to_json().replace(',"model":null', "").replace(',"model":""', "")
    assert '"model"' not in text
    assert StudySpec.from_json(text) == new_spec()


@pytest.mark.parametrize("path", ["../mynet.py", "/etc/passwd", "a/../../b.py"])
def test_a_record_whose_files_are_outside_of_their_folder_is_refused(path):
    with pytest.raises(ValueError, match="is no file of a model"):
        ModelSpec.from_dict({"name": "mynet:build", "files": {path: "0" * 64}})


def test_a_function_that_fails_for_the_first_configuration_is_refused_with_it_and_the_place(here):
    with pytest.raises(UsageError) as caught:
        try_out(space(SPACE.replace("8, high = 8", "-8, high = -8")))
    assert str(caught.value).startswith("mynet:build fails for the first configuration (lr=0.0")
    assert str(caught.value).endswith(" units=-8): ValueError: -8 units (mynet.py, line 6)")
    with pytest.raises(UsageError, match=r"mynet:wide gives 2 x 3 .* N x 10 \(the first configuration: lr=0\.0"):
        try_out(space(SPACE.replace(":build", ":wide")))


def test_trying_a_network_out_leaves_the_random_numbers_of_the_process_alone(here):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    try_out(space())
    assert torch.equal(torch.rand(1), expected)


def test_names_of_ones_own_are_for_ones_own_function_only():
    built_in = SPACE.replace('model = "mynet:build"', "")
    with pytest.raises(UsageError, match="there is no hyperparameter 'units'"):
        space(built_in)
    with pytest.raises(UsageError, match="there is no hyperparameter 'units'"):
        space(built_in.replace("[space]", 'model = "torchvision:resnet18"\n[space]', 1))
    assert parse_space(built_in, source="x", model="mynet:build") == dataclasses.replace(space(), source="x")


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ("lr = { type = \"float\", low = 0.01, high = 99 }", "lr: high = 99 is not allowed: a number from 1e-07 to 10"),
        ("lr = { type = \"choice\", choices = [\"fast\"] }", "lr: 'fast' is not allowed"),
        ("\"my units\" = { type = \"int\", low = 1, high = 2 }", "^[^:]*: 'my units': a parameter of your function"),
        ("units2 = { type = \"choice\", choices = [[1]] }", r"\[1\] is not a finite number, a text, true or false"),
        ("units2 = { type = \"float\", low = 0, high = inf }", "high = inf is not a finite number"),
    ],
)  # fmt: skip
def test_values_of_the_training_are_checked_as_ever_and_ones_own_must_be_scalars(changed, line):
    text = SPACE.replace('lr = { type = "float", low = 0.01, high = 0.1 }', changed)
    with pytest.raises(UsageError, match=line):
        space(text)


def test_names_of_the_built_in_networks_are_free_for_ones_own():
    text = SPACE.replace("units = ", 'depth = { type = "int", low = 50, high = 100 }\nwidth = ')
    assert space(text).dimensions["depth"]["high"] == 100
    assert new_spec(space=space(text), model=ModelSpec("mynet:build")).hyperparameters({"depth": 99}).lr == 0.05


def test_the_parts_of_a_network_are_shown_at_the_lowest_values(here):
    parts, where = parts_of(space(), (1, 8, 8), 10)
    assert where == "the lowest values of what is searched"
    assert [(part.name, part.output, part.parameters) for part in parts] == [
        ("0: Flatten", (64,), 0),
        ("1: Linear", (8,), 520),
        ("2: ReLU", (8,), 0),
        ("3: Linear", (10,), 90),
    ]


def test_a_study_goes_on_with_what_it_keeps_and_says_if_the_source_here_is_another(here, tmp_path):
    spec, files, _ = try_out(space(), storage=str(tmp_path / "storage"))
    kept = model_folder(spec.storage, spec.name) / "mynet.py"
    said = []
    check_kept(spec, said.append)  # killed before it had kept anything: taken from here
    assert kept.read_bytes() == files["mynet.py"]
    Path("mynet.py").write_text(SOURCE + "\n# edited")
    check_kept(spec, said.append)
    assert said == [f"note: mynet.py here is not what the study began with; it goes on with its own, in {kept.parent}"]
    kept.unlink()
    with pytest.raises(CheckpointError, match=r"cannot read .*mynet.py"):
        check_kept(spec, said.append)


def test_weights_are_kept_with_the_study_and_recorded_by_what_they_were(tmp_path):
    state = new_network("squeezenet1_1", 1000, pretrained=True).state_dict()
    file = tmp_path / "mine.pth"
    torch.save(state, file)
    transfer = new_space(dimensions={"lr": LR}, model="torchvision:squeezenet1_1")
    chosen = choose_network(transfer, weights=file)
    assert chosen.notes[0].startswith(f"torchvision:squeezenet1_1 begins with the weights of {file} (SHA-256 ")
    model = chosen.model
    assert (model.weights, model.weights_sha256) == (str(file), hashlib.sha256(file.read_bytes()).hexdigest())
    assert model.files == {WEIGHTS_FILE: hashlib.sha256(chosen.files[WEIGHTS_FILE]).hexdigest()}
    spec = new_spec(space=transfer, storage=str(tmp_path), model=model)
    keep(spec, chosen.files)
    check_kept(spec, pytest.fail)
    (model_folder(spec.storage, spec.name) / WEIGHTS_FILE).write_bytes(b"other")
    with pytest.raises(CheckpointError, match=r"weights.safetensors has changed since its study began"):
        check_kept(spec, pytest.fail)


def test_weights_are_refused_for_what_is_not_torchvisions(here):
    for chosen_space in (None, new_space(), space()):
        with pytest.raises(UsageError, match="--pretrained is for torchvision networks, --model torchvision:NAME"):
            choose_network(chosen_space, pretrained=True)


def test_a_transfer_without_trained_weights_is_told():
    with_frozen = new_space(dimensions={"lr": LR}, constants={"frozen_epochs": 1}, model="torchvision:resnet18")
    (note,) = choose_network(with_frozen).notes
    assert note.startswith("the weights of torchvision:resnet18 are random: --pretrained or --weights FILE")
    assert choose_network(new_space(dimensions={"lr": LR}, model="torchvision:resnet18")).notes == ()
