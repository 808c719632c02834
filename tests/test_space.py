"""Search space files: what is accepted, and that each mistake is named with file, key, value and range."""

import json

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tuner.errors import UsageError
from tuner.space import Space, load_space, parse_space, shipped_spaces
from tuner.training.config import Hyperparameters

GOOD = """
[space]
lr = { type = "float", low = 1e-3, high = 0.3, log = true }   # why these bounds
width = { type = "int", low = 16, high = 64, step = 16 }
norm = { type = "choice", choices = ["batch", "none"] }
dropout = { type = "float", low = 0, high = 0.5, step = 0.1 }
[constants]
kernel_size = 3
[search]
max_epochs = 27
"""


def test_a_good_file_becomes_optunas_declared_distributions():
    space = parse_space(GOOD, source="good.toml")
    assert space.distributions() == {
        "lr": FloatDistribution(1e-3, 0.3, log=True),
        "width": IntDistribution(16, 64, step=16),
        "norm": CategoricalDistribution(["batch", "none"]),
        "dropout": FloatDistribution(0.0, 0.5, step=0.1),
    }
    assert space.constants == {"kernel_size": 3}
    assert space.search == {"max_epochs": 27}


def test_a_space_survives_json():
    space = parse_space(GOOD, source="good.toml")
    assert Space(**json.loads(json.dumps(space.as_dict()))) == space


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[space", ["bad.toml", "not valid TOML"]),
        ("", ["bad.toml", "[space]", "at least one dimension"]),
        ("[spaces]\nlr = 1", ["bad.toml", "unknown key 'spaces'"]),
        ("space = 3", ["[space] must be a table", "3"]),
        ('[space]\nlrr = { type = "float", low = 0.1, high = 1 }', ["[space]", "'lrr'", "known are depth"]),
        ("[space]\nlr = 0.1", ["lr", "must be a table", "0.1"]),
        ('[space]\nlr = { type = "real", low = 0.1, high = 1 }', ["lr", "'real'", "float, int, choice"]),
        ("[space]\nlr = { low = 0.1, high = 1 }", ["lr", "None", "float, int, choice"]),
        ('[space]\nlr = { type = "float", low = 0.1, hihg = 1 }', ["lr", "unknown key 'hihg'", "high"]),
        ('[space]\nlr = { type = "float", low = 0.1 }', ["lr", "high is missing"]),
        ('[space]\nlr = { type = "float", low = 0.5, high = 0.1 }', ["lr", "low = 0.5", "high = 0.1"]),
        ('[space]\nl2 = { type = "float", low = 0, high = 0.1, log = true }', ["l2", "low > 0", "low = 0"]),
        ('[space]\nlr = { type = "float", low = 0.1, high = 1, log = "yes" }', ["lr", "log = 'yes'", "true or false"]),
        ('[space]\nlr = { type = "float", low = "a", high = 1 }', ["lr", "low = 'a'", "number"]),
        ('[space]\nlr = { type = "float", low = nan, high = 1 }', ["lr", "nan", "1e-07"]),
        ('[space]\nlr = { type = "float", low = 0.1, high = 11 }', ["lr", "high = 11", "from 1e-07 to 10"]),
        ('[space]\nlr = { type = "float", low = 0.1, high = 1, log = true, step = 0.1 }', ["lr", "step", "exclude"]),
        ('[space]\nlr = { type = "float", low = 0.1, high = 1, step = 0 }', ["lr", "step = 0", "above 0"]),
        ('[space]\nlr = { type = "float", low = 0.1, high = 1, step = nan }', ["lr", "step = nan", "above 0"]),
        ('[space]\nlr = { type = ["float"], low = 0.1, high = 1 }', ["lr", "['float']", "float, int, choice"]),
        ('[space]\nwidth = { type = "int", low = 16, high = 64, step = 100 }', ["width", "high = 64", "100; 16 is"]),
        ('[space]\nwidth = { type = "int", low = 16, high = 60, step = 16 }', ["width", "high = 60", "48 is"]),
        ('[space]\ndepth = { type = "int", low = 1, high = 3, step = 0.5 }', ["depth", "step = 0.5", "whole"]),
        ('[space]\ndepth = { type = "int", low = 1.5, high = 3 }', ["depth", "low = 1.5", "whole number"]),
        ('[space]\ndepth = { type = "float", low = 1, high = 3 }', ["depth", "'float'", "a whole number from 1 to 8"]),
        ('[space]\nnorm = { type = "int", low = 1, high = 3 }', ["norm", "'int'", "one of batch, none"]),
        ('[space]\nnorm = { type = "choice", choices = [] }', ["norm", "choices = []", "at least one"]),
        ('[space]\nnorm = { type = "choice", choices = ["layer"] }', ["norm", "'layer'", "batch, none"]),
        ('[space]\nnorm = { type = "choice", choices = ["batch", "batch"] }', ["norm", "twice"]),
        ('[space]\nkernel_size = { type = "int", low = 3, high = 5 }', ["kernel_size", "even"]),
        (GOOD + "trials = 0", ["[search]", "trials = 0", "from 1 to"]),
        (GOOD + "epochs = 3", ["[search]", "'epochs'", "max_epochs"]),
        (GOOD.replace("kernel_size = 3", "kernel_size = 4"), ["[constants]", "kernel_size = 4", "odd"]),
        (GOOD.replace("kernel_size = 3", "lr = 0.1"), ["lr", "[space] and in [constants]"]),
    ],
)
def test_a_bad_file_is_refused_with_file_key_value_and_range(text, parts):
    with pytest.raises(UsageError) as refusal:
        parse_space(text, source="bad.toml")
    message = str(refusal.value)
    assert message.startswith("bad.toml")
    assert "\n" not in message
    assert [part for part in parts if part not in message] == []


def test_an_absent_file_names_the_shipped_spaces():
    with pytest.raises(UsageError, match=r"'nowhere\.toml'.*cifar10, cifar10-small, digits, folder"):
        load_space("nowhere.toml")


def test_a_folder_is_no_space_file(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        load_space(str(tmp_path))


@pytest.mark.parametrize("name", ["cifar10", "cifar10-small", "digits", "folder"])
def test_each_shipped_space_has_the_six_dimensions_and_makes_valid_configurations(name):
    assert name in shipped_spaces()
    space = load_space(name)
    assert {"depth", "width", "dropout", "l2", "lr", "augment"} <= set(space.dimensions)
    corners = [
        {key: spec.choices[0] if isinstance(spec, CategoricalDistribution) else bound(spec)}
        for key, spec in space.distributions().items()
        for bound in (lambda spec: spec.low, lambda spec: spec.high)
    ]
    for corner in corners:
        Hyperparameters.from_params({**space.constants, **corner})
