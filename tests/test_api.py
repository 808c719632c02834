"""The Python API has the options of the command line, and keeps its names whatever is imported."""

from __future__ import annotations

import contextlib
import inspect

import pytest
import typer.main

import tuner
from tuner.cli import app
from tuner.errors import UsageError

COMMAND_LINE_ONLY = {"detach", "dry_run", "help"}
PYTHON_ONLY = {"progress"}


@pytest.mark.parametrize(
    ("command", "function", "named"),
    [("search", tuner.search, set()), ("resume", tuner.Study.resume, {"name", "redis"})],
)
def test_the_options_are_those_of_the_command_with_their_defaults(command, function, named):
    options = {
        option.opts[0].removeprefix("--").replace("-", "_"): option.default
        for option in typer.main.get_command(app).commands[command].params
    }
    parameters = {
        name: None if value.default is inspect.Parameter.empty else value.default
        for name, value in inspect.signature(function).parameters.items()
        if name != "self"
    }
    assert parameters.keys() - PYTHON_ONLY == options.keys() - COMMAND_LINE_ONLY - named
    different = {name for name in parameters.keys() & options.keys() if parameters[name] != options[name]}
    assert different == set()


def test_the_function_search_stays_although_there_is_a_package_of_that_name():
    from tuner.search import driver, new_search

    assert callable(driver.run)
    assert callable(new_search)
    assert inspect.isfunction(tuner.search)
    assert tuner.load.__module__ == tuner.search.__module__ == "tuner.api"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"trials": 2.5}, "trials = 2.5 is not allowed: it must be a whole number"),
        ({"gpus": 0.5}, "gpus = 0.5 is not allowed"),
        ({"seed": "1"}, "seed = '1' is not allowed"),
        ({"workers": True}, "workers = True is not allowed"),
        ({"enqueue": {"lr": 0.1}}, "give a file or a list of dictionaries"),
        ({"enqueue": [3]}, r"enqueue = \[3\] is not understood"),
    ],
)
def test_what_a_type_checker_would_have_found_is_refused_in_one_line_before_anything_starts(options, line, monkeypatch):
    monkeypatch.setattr("tuner.api.store", lambda *_, **__: pytest.fail("it went on"))
    with pytest.raises(UsageError, match=line):
        tuner.search("digits", **options)


def test_true_and_false_are_set_as_the_command_line_has_them(monkeypatch):
    requests = []
    monkeypatch.setattr("tuner.api.store", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr("tuner.launch.search", lambda request, *_: requests.append(request) or exit_early())
    with pytest.raises(StopIteration):
        tuner.search("digits", set={"bias": True, "width": 8, "act": ["relu", "elu"]})
    assert requests[0].overrides == ("bias=true", "width=8", "act=relu,elu")


def exit_early():
    raise StopIteration
