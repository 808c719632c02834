"""A space from a Python function, `--set`, `--enqueue` and `--warm-start`, as a user has them."""

from __future__ import annotations

import json

import pytest

from tests.program import new_program

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
MODULE = """
def small():
    print("called")
    return {
        "space": {
            "lr": {"type": "float", "low": 0.01, "high": 0.5, "log": True},
            "optimizer": {"type": "choice", "choices": ["sgd", "adamw"]},
            "momentum": {"type": "float", "low": 0.5, "high": 0.95, "only_if": {"optimizer": "sgd"}},
        },
        "constants": {"width": 8, "depth": 1},
    }
def fails():
    return {"space": {}["x"]}
"""
GIVEN = '[[trial]]\noptimizer = "adamw"\nlr = 0.02\n[[trial]]\noptimizer = "sgd"\nmomentum = 0.9\n'
SEARCH = ["search", "digits", "--gpus", "0", "--max-epochs", "2", "--space", "my_spaces:small"]


@pytest.fixture(scope="module")
def tuner():
    with new_program() as program:
        (program.home / "my_spaces.py").write_text(MODULE)
        (program.home / "given.toml").write_text(GIVEN)
        (program.home / "bad.toml").write_text(GIVEN.replace("0.02", "2"))
        yield program


def test_a_search_begins_with_what_was_given_and_the_next_one_with_what_it_found(tuner):
    options = ["--set", "width=8,16", "--enqueue", "given.toml", "--trials", "5", "--name", "first"]
    printed = tuner(*SEARCH, *options)
    assert printed.count("called") == 1
    assert ", 2 enqueued first" in printed
    trials = json.loads(tuner("trials", "first", "--json"))
    assert [trial["enqueued"] for trial in trials] == [True, True, False, False, False]
    assert (trials[0]["params"]["optimizer"], trials[0]["params"]["lr"]) == ("adamw", 0.02)
    assert (trials[1]["params"]["optimizer"], trials[1]["params"]["momentum"]) == ("sgd", 0.9)
    for trial in trials:
        assert ("momentum" in trial["params"]) == (trial["params"]["optimizer"] == "sgd")
        assert trial["params"]["width"] in (8, 16)
    table = tuner("trials", "first").splitlines()
    assert table[1].startswith("0 (enqueued)")

    printed = tuner(*SEARCH, "--warm-start", "first", "--trials", "1", "--name", "second", "--set", "lr=log:0.01:0.3")
    assert "trials of study first are evidence for the sampler" in printed
    assert "note: study first had other values of what is constant here: width" in printed
    tuner("delete", "first", "--yes")
    status = json.loads(tuner("status", "second", "--json"))
    assert (status["warm_start"]["study"], sum(status["trials"].values())) == ("first", 1)
    assert f"{status['warm_start']['trials']} trials of study first are evidence" in tuner("status", "second")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--enqueue", "bad.toml"], ["--enqueue: [[trial]] 1: lr = 2 is not in the space", "from 0.01 to 0.5"]),
        (["--set", "lr=fast"], ["--set lr=fast", "a number from"]),
        (["--space", "my_spaces:fails"], ["my_spaces:fails failed: KeyError: 'x'", "--debug"]),
        (["--fixed", "--enqueue", "given.toml"], ["--fixed", "leave out --enqueue"]),
    ],
)
def test_what_does_not_fit_is_refused_before_there_is_a_study(tuner, arguments, parts):
    line = tuner(*SEARCH, "--name", "never", *arguments, code=2)
    assert [part for part in parts if part not in line] == []
    assert "there is no study 'never'" in tuner("status", "never", code=1)
