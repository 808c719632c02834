"""`--set`: how each text changes a space, what follows for conditions and the first configuration, what is refused."""

import pytest

from tuner.errors import UsageError
from tuner.overrides import override
from tuner.space import parse_space

SPACE = """
[space]
lr = { type = "float", low = 1e-3, high = 0.3, log = true }
width = { type = "int", low = 16, high = 64, step = 16 }
optimizer = { type = "choice", choices = ["sgd", "adamw"] }
momentum = { type = "float", low = 0.5, high = 0.95, only_if = { optimizer = "sgd" } }
[constants]
depth = 3
[start]
lr = 0.05
width = 48
optimizer = "sgd"
momentum = 0.9
[input]
size = 8
[search]
trials = 3
"""


def changed(*texts):
    return override(parse_space(SPACE, source="mine.toml"), texts)


@pytest.mark.parametrize(
    ("text", "name", "table"),
    [
        ("lr=log:1e-4:1e-1", "lr", {"type": "float", "low": 1e-4, "high": 0.1, "log": True, "step": None}),
        ("lr = 0.02 : 0.1", "lr", {"type": "float", "low": 0.02, "high": 0.1, "log": False, "step": None}),
        ("dropout=0:0.5:0.25", "dropout", {"type": "float", "low": 0.0, "high": 0.5, "log": False, "step": 0.25}),
        ("depth=2:5", "depth", {"type": "int", "low": 2, "high": 5, "log": False, "step": None}),
        ("width=8:64:8", "width", {"type": "int", "low": 8, "high": 64, "log": False, "step": 8}),
        ("width=16,48", "width", {"type": "choice", "choices": [16, 48]}),
        ("norm=batch,none", "norm", {"type": "choice", "choices": ["batch", "none"]}),
    ],
)
def test_a_range_or_a_list_makes_a_dimension_whatever_it_was_before(text, name, table):
    space, notes = changed(text)
    assert space.dimensions[name] == table
    assert name not in space.constants
    assert name in space.start
    assert (space.source, space.input, space.search, notes) == ("mine.toml", {"size": 8}, {"trials": 3}, [])


def test_one_value_makes_a_constant_and_the_rest_stays_in_its_order():
    space, notes = changed("width=40")
    assert (list(space.dimensions), space.constants) == (["lr", "optimizer", "momentum"], {"depth": 3, "width": 40})
    assert space.start == {"lr": 0.05, "optimizer": "sgd", "momentum": 0.9}
    assert notes == []


def test_the_last_of_two_for_the_same_name_counts_and_without_any_nothing_changes():
    assert changed("depth=4", "depth=2:5", "width=32")[0] == changed("width=32", "depth=2:5")[0]
    assert changed()[0] == parse_space(SPACE, source="mine.toml")


def test_values_of_the_start_that_no_longer_fit_move_to_the_nearest_and_say_so():
    space, notes = changed("lr=log:0.1:0.2", "width=8:40:8", "optimizer=adamw,adam", "dropout=0.25,0.5")
    assert space.start == {"lr": 0.1, "width": 40, "optimizer": "adamw", "dropout": 0.25}
    assert notes == [
        "momentum is not searched: optimizer no longer takes the values with which it exists",
        "the first configuration has lr = 0.1 (0.05 is not in the space)",
        "the first configuration has width = 40 (48 is not in the space)",
        "the first configuration has optimizer = adamw (sgd is not in the space)",
        "the first configuration has dropout = 0.25 (0.0 is not in the space)",
    ]


def test_a_condition_is_kept_forgotten_or_takes_its_dimension_along():
    assert changed("momentum=0:0.5")[0].dimensions["momentum"]["only_if"] == {"optimizer": ["sgd"]}
    always, notes = changed("optimizer=sgd")
    assert ("only_if" in always.dimensions["momentum"], notes) == (False, [])
    never, notes = changed("optimizer=adamw")
    assert ("momentum" in never.dimensions, "momentum" in never.start) == (False, False)
    assert notes == ["momentum is not searched: it exists only with another optimizer than adamw"]
    _, notes = changed("optimizer=adamw,adam")
    assert "momentum is not searched: optimizer no longer takes the values with which it exists" in notes
    everywhere, _ = changed("momentum=0.7")
    assert (everywhere.constants["momentum"], "momentum" in everywhere.dimensions) == (0.7, False)


def test_a_condition_that_always_holds_takes_the_place_of_the_constant_for_where_it_did_not():
    space, _ = override(
        parse_space(SPACE.replace("depth = 3", "depth = 3\nmomentum = 0.9"), source="m"), ["optimizer=sgd"]
    )
    assert space.dimensions["momentum"] == {"type": "float", "low": 0.5, "high": 0.95, "log": False, "step": None}
    assert space.constants == {"depth": 3, "optimizer": "sgd"}


def test_of_two_for_a_conditional_dimension_the_first_leaves_nothing_behind():
    space, _ = changed("momentum=0.7", "momentum=0.6:0.8")
    assert space.constants == {"depth": 3}
    assert space.dimensions["momentum"]["only_if"] == {"optimizer": ["sgd"]}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bias=true,false", {"type": "choice", "choices": [True, False]}),
        ("drop=0:1", {"type": "float", "low": 0.0, "high": 1.0, "log": False, "step": None}),
        ("share=0:1", {"type": "float", "low": 0.0, "high": 1.0, "log": False, "step": None}),
        ("units=1:8", {"type": "int", "low": 1, "high": 8, "log": False, "step": None}),
    ],
)
def test_parameters_of_ones_own_keep_their_kind(text, found):
    own = """
model = "mynet:build"
[space]
share = { type = "choice", choices = [0.25, 0.5] }
[constants]
drop = 0.2
units = 4
"""
    space, _ = override(parse_space(own, source="own.toml"), [text])
    name = text.partition("=")[0]
    assert space.dimensions[name] == found


@pytest.mark.parametrize(
    ("texts", "parts"),
    [
        (["lr"], ["--set 'lr' is not understood", "NAME=VALUE", "lr=log:1e-4:1e-1"]),
        (["lr="], ["--set 'lr='"]),
        (["lr=1:2:3:4"], ["--set 'lr=1:2:3:4'"]),
        (["lr=log:0.1"], ["--set 'lr=log:0.1'"]),
        (["lr=log:0.1:1:0.1"], ["is not understood"]),
        (["lr=a:b"], ["--set 'lr=a:b'"]),
        (["norm=batch,"], ["--set 'norm=batch,'"]),
        (["lr=0.1:20"], ["--set lr=0.1:20 does not fit", "high = 20", "from 1e-07 to 10"]),
        (["lr=nan:1"], ["nan"]),
        (["lr=0:1:0.05"], ["low = 0", "from 1e-07 to 10"]),
        (["width=10:60:16"], ["58 is"]),
        (["norm=layer"], ["norm = 'layer'", "batch, none"]),
        (["lrr=1"], ["'lrr'", "known are depth"]),
        (["lr=1", "width=2", "optimizer=adamw"], ["leaves nothing to search in mine.toml", "--fixed"]),
    ],
)
def test_what_cannot_be_is_refused_with_the_text_and_the_range(texts, parts):
    with pytest.raises(UsageError) as refusal:
        changed(*texts)
    assert [part for part in ["--set", *parts] if part not in str(refusal.value)] == []
