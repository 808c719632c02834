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


START = """
[start]
norm = "none"
dropout = 0.3
lr = 1e-2
width = 48
[input]
size = 28
classes = 2
"""


def test_the_first_configuration_takes_the_order_of_the_dimensions_and_the_types_of_their_values():
    space = parse_space(GOOD + START, source="good.toml")
    assert list(space.start.items()) == [("lr", 0.01), ("width", 48), ("norm", "none"), ("dropout", 0.3)]
    assert space.input == {"size": 28, "classes": 2}


def test_only_the_start_is_left_as_dimensions_of_one_value():
    space = parse_space(GOOD + START, source="good.toml")
    only = space.only_start()
    assert only.distributions() == {name: CategoricalDistribution([value]) for name, value in space.start.items()}
    assert (only.constants, only.search) == (space.constants, {"max_epochs": 27, "trials": 1})
    assert Space.from_dict(json.loads(json.dumps(only.as_dict()))) == only.only_start() == only
    with pytest.raises(UsageError, match=r"good.toml has no \[start\] table, .* --fixed .* add one"):
        parse_space(GOOD, source="good.toml").only_start()


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("lr = 1e-2", "", ["[start]", "lr is missing", "each dimension"]),
        ("lr = 1e-2", "lr = 1.0", ["[start]", "lr = 1.0", "not in the space", "from 0.001 to 0.3"]),
        ("lr = 1e-2", 'lr = "fast"', ["[start]", "lr = 'fast'", "a number"]),
        ("lr = 1e-2", "lr = 1e-2\ndepth = 2", ["[start]", "unknown key 'depth'", "known are dropout, lr"]),
        ("width = 48", "width = 40", ["[start]", "width = 40", "in steps of 16"]),
        ('norm = "none"', 'norm = "layer"', ["[start]", "'layer'", "batch, none"]),
        ("size = 28", "size = 2", ["[input]", "size = 2", "from 4 to 1024"]),
        ("size = 28", "height = 28", ["[input]", "unknown key 'height'"]),
    ],
)
def test_a_bad_first_configuration_or_input_is_refused_likewise(old, new, parts):
    with pytest.raises(UsageError) as refusal:
        parse_space(GOOD + START.replace(old, new), source="bad.toml")
    assert [part for part in ["bad.toml: ", *parts] if part not in str(refusal.value)] == []


def test_a_space_that_was_stored_before_there_were_starts_has_none():
    content = parse_space(GOOD, source="good.toml").as_dict()
    del content["start"], content["input"]
    assert Space.from_dict(content) == parse_space(GOOD, source="good.toml")


def test_a_space_survives_json():
    space = parse_space(GOOD + START, source="good.toml")
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
    with pytest.raises(UsageError, match=r"'nowhere\.toml'.*cifar10, cifar10-small, classic-.*, digits, folder"):
        load_space("nowhere.toml")


def test_a_folder_is_no_space_file(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        load_space(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("classic-cifar10", 315_722),
        ("classic-augmented", 60_554),
        ("classic-mnist", 121_930),
        ("classic-dropout", 167_562),
        ("classic-binary", 19_034_177),
    ],
)
def test_each_classic_space_starts_with_the_network_of_keras_by_the_number_of_its_parameters(name, parameters):
    from tuner.training.summary import summarise

    space = load_space(name)
    hp = Hyperparameters.from_params({**space.constants, **space.start})
    side, channels, classes = (space.input[key] for key in ("size", "channels", "classes"))
    layers = summarise(hp, (channels, side, side), classes)
    assert sum(layer.parameters for layer in layers) == parameters
    assert layers[-1].output == (classes,)
    # Every network of the space can be built: the deepest with the widest kernels is the one that might not.
    widest = {name: table["high"] for name, table in space.dimensions.items() if name in ("depth", "kernel_size")}
    small = {"width": 1, "dense": 1}
    summarise(Hyperparameters.from_params({**hp.as_dict(), **widest, **small}), (channels, side, side), classes)


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
