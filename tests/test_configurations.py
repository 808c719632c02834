"""Dimensions that exist only where another one has certain values: the checks of the file, and of configurations."""

import json

import pytest

from tuner.configurations import check_configuration, exists, in_drawing_order
from tuner.errors import UsageError
from tuner.space import Space, parse_space

SPACE = """
[space]
momentum = { type = "float", low = 0.5, high = 0.99, only_if = { optimizer = "sgd" } }
optimizer = { type = "choice", choices = ["sgd", "adamw", "adam"] }
depth = { type = "int", low = 1, high = 4 }
dense = { type = "int", low = 32, high = 128, step = 32, only_if = { depth = [1, 2] } }
[constants]
momentum = 0.8
"""


def parse(text=SPACE):
    return parse_space(text, source="mine.toml")


def test_a_condition_is_kept_as_a_list_and_survives_json_and_the_constant_stays_for_where_it_does_not_hold():
    space = parse()
    assert space.dimensions["momentum"]["only_if"] == {"optimizer": ["sgd"]}
    assert space.dimensions["dense"]["only_if"] == {"depth": [1, 2]}
    assert space.constants == {"momentum": 0.8}
    assert Space.from_dict(json.loads(json.dumps(space.as_dict()))) == space


def test_what_depends_on_others_is_drawn_after_them():
    assert in_drawing_order(parse().dimensions) == ["optimizer", "depth", "momentum", "dense"]


def test_a_dimension_exists_where_its_condition_holds():
    tables = parse().dimensions
    assert exists(tables["depth"], {})
    assert exists(tables["dense"], {"depth": 2})
    assert not exists(tables["dense"], {"depth": 3})
    assert not exists(tables["momentum"], {"depth": 2})


@pytest.mark.parametrize(
    ("condition", "parts"),
    [
        ("only_if = 3", ["momentum: only_if = 3", "must name one dimension", "such as"]),
        ('only_if = { optimizer = "sgd", depth = 1 }', ["must name one dimension"]),
        ("only_if = { momentum = 0.9 }", ["names momentum itself"]),
        ("only_if = { width = 32 }", ["'width'", "no dimension of [space]", "these are optimizer, depth, dense"]),
        ("only_if = { dense = 32 }", ["names dense", "an only_if of its own", "one level"]),
        ('only_if = { optimizer = "sgdd" }', ["optimizer = 'sgdd'", "one of sgd, adamw, adam"]),
        ("only_if = { depth = [2, 5] }", ["depth = 5", "a whole number from 1 to 4"]),
        ("only_if = { depth = [] }", ["depth = []", "at least one value"]),
    ],
)
def test_a_bad_condition_is_refused_with_file_name_and_reason(condition, parts):
    with pytest.raises(UsageError) as refusal:
        parse(SPACE.replace('only_if = { optimizer = "sgd" }', condition))
    assert [part for part in ["mine.toml: momentum", *parts] if part not in str(refusal.value)] == []


def test_a_condition_on_numbers_between_two_of_which_there_is_always_another_is_refused():
    text = SPACE.replace("depth = { type", 'lr = { type = "float", low = 0.1, high = 1 }\ndepth = { type')
    with pytest.raises(UsageError, match="names lr, a float without step"):
        parse(text.replace('{ optimizer = "sgd" }', "{ lr = 0.5 }"))


def test_an_unconditional_dimension_may_not_be_a_constant_too():
    with pytest.raises(UsageError, match=r"depth is in .space. and in .constants."):
        parse(SPACE + "depth = 3\n")


def test_the_first_configuration_has_the_dimensions_that_exist_in_it_and_no_others():
    start = '[start]\noptimizer = "adam"\ndepth = 2\ndense = 64\n'
    assert parse(SPACE + start).start == {"optimizer": "adam", "depth": 2, "dense": 64}
    for wrong, said in [
        (start.replace("dense = 64\n", ""), r"\[start\] dense is missing"),
        (start + "momentum = 0.9\n", r"momentum exists only if optimizer is sgd, and here is optimizer = 'adam'"),
    ]:
        with pytest.raises(UsageError, match=said):
            parse(SPACE + wrong)


def test_fixed_keeps_what_exists_in_the_start():
    only = parse(SPACE + '[start]\noptimizer = "adam"\ndepth = 3\n').only_start()
    assert {name: table["choices"] for name, table in only.dimensions.items()} == {"optimizer": ["adam"], "depth": [3]}
    assert Space.from_dict(only.as_dict()) == only


def test_a_configuration_takes_order_and_types_of_the_space_and_may_be_incomplete():
    tables = parse().dimensions
    values = check_configuration({"depth": 2.0, "optimizer": "sgd", "momentum": 0.9}, tables, complete=False)
    assert list(values.items()) == [("momentum", 0.9), ("optimizer", "sgd"), ("depth", 2)]
    assert isinstance(values["depth"], int)
    with pytest.raises(UsageError, match="momentum exists only if optimizer is sgd, and optimizer is missing"):
        check_configuration({"momentum": 0.9}, tables, complete=False)
    for wrong in ({"depth": True}, {"depth": 2.5}, {"depth": float("nan")}, {"dense": 40, "depth": 1}, {"lr": 0.1}):
        with pytest.raises(UsageError):
            check_configuration(wrong, tables, complete=False)
