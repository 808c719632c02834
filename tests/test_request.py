"""From a request to a spec: what goes before what, and which space is chosen for whom."""

from pathlib import Path

import pytest

from tests.factories import new_space
from tuner.durations import parse_seconds
from tuner.errors import UsageError
from tuner.request import SearchRequest, default_space, new_spec
from tuner.spec import Resources
from tuner.training.dataspec import DataSpec

DATA = DataSpec(dataset="digits", data_dir="/data")


def spec_of(space, **changes):
    values = {"dataset": "digits", "resources": Resources(gpus=0), "storage": Path("/s"), "data_dir": Path("/data")}
    return new_spec(SearchRequest(**{**values, **changes}), "name", DATA, "f" * 64, space)


def test_the_command_line_goes_before_the_space_file_and_the_file_before_the_defaults():
    space = new_space(search={"max_epochs": 12, "trials": 5, "reduction_factor": 3})
    from_file = spec_of(space)
    assert (from_file.max_epochs, from_file.trials, from_file.reduction_factor) == (12, 5, 3)
    from_line = spec_of(space, max_epochs=48, trials=7)
    assert (from_line.max_epochs, from_line.trials, from_line.grace_period) == (48, 7, 4)
    default = spec_of(new_space())
    assert (default.max_epochs, default.trials, default.grace_period, default.reduction_factor) == (27, 32, 2, 3)


def test_fixed_trains_the_start_once_or_as_often_as_asked_and_compares_nothing():
    start = {"lr": 0.05, "width": 48, "norm": "none"}
    space = new_space(search={"max_epochs": 12, "trials": 5, "grace_period": 2}, start=start)
    spec = spec_of(space, fixed=True)
    assert {name: table["choices"] for name, table in spec.space.dimensions.items()} == {
        name: [value] for name, value in start.items()
    }
    assert (spec.trials, spec.rungs()) == (1, ())
    assert (spec_of(space, fixed=True, trials=3).trials, spec_of(space).trials) == (3, 5)
    with pytest.raises(UsageError, match=r"\[start\]"):
        spec_of(new_space(), fixed=True)


@pytest.mark.parametrize(
    ("dataset", "gpus", "space"),
    [
        ("digits", False, "digits"),
        ("digits", True, "digits"),
        ("cifar10", False, "cifar10-small"),
        ("cifar10", True, "cifar10"),
        ("svhn", True, "cifar10"),
        ("mnist", True, "folder"),
        ("/some/folder", False, "folder"),
        ("/some/folder", True, "folder"),
    ],
)
def test_the_space_is_chosen_by_data_set_and_device(dataset, gpus, space):
    assert default_space(dataset, gpus=gpus) == space


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5h", 5400), ("30m", 1800), ("1d", 86400), (" 2 H ", 7200)]
)
def test_times_have_units(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "0", "5 minutes", "1h30m"])
def test_a_time_that_is_not_understood_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match="30m"):
        parse_seconds(text)


def test_no_time_is_no_limit():
    assert parse_seconds(None) is None
