"""Spaces that a Python function makes: found in the current folder, called once, wrong in one line."""

import sys

import pytest

from tuner.errors import UsageError
from tuner.space import load_space

MODULE = """
calls = 0
def space():
    global calls
    calls += 1
    widths = [2**power for power in range(4, 7)]
    return {
        "space": {"width": {"type": "choice", "choices": widths},
                  "lr": {"type": "float", "low": 1e-3 * calls, "high": 0.1}},
        "constants": {"depth": 2}, "start": {"width": 32, "lr": 0.01},
    }
def fails():
    return {"space": {}["x"]}
def wrong():
    return ["space"]
def bad():
    return {"space": {"lr": {"type": "float", "low": 1}}}
number = 3
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "made_here.py").write_text(MODULE)
    (tmp_path / "needs_more.py").write_text("import not_there_at_all\n")
    (tmp_path / "with_error.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    yield
    for name in ("made_here", "needs_more", "with_error"):
        sys.modules.pop(name, None)


def test_its_dictionary_is_a_space_like_a_file():
    space = load_space("made_here:space")
    assert space.source == "made_here:space"
    assert space.dimensions["width"] == {"type": "choice", "choices": [16, 32, 64]}
    assert (space.constants, space.start) == ({"depth": 2}, {"width": 32, "lr": 0.01})
    assert sys.modules["made_here"].calls == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("made_here:fails", "search space made_here:fails failed: KeyError: 'x'; --debug shows where"),
        ("made_here:wrong", "must return a dictionary with .space. in it, not list"),
        ("made_here:bad", "made_here:bad: lr: high is missing"),
        ("made_here:none", "made_here has no function 'none'"),
        ("made_here:number", "made_here has no function 'number'"),
        ("not_here:space", "there is no module 'not_here', neither installed nor here"),
        ("needs_more:space", "cannot be imported: ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("with_error:space", "cannot be imported: ZeroDivisionError"),
    ],
)
def test_what_is_wrong_with_it_is_one_line(name, said):
    with pytest.raises(UsageError, match=said) as refusal:
        load_space(name)
    assert "\n" not in str(refusal.value)


def test_a_file_of_such_a_name_goes_before_a_function(tmp_path):
    (tmp_path / "made_here:space").write_text('[space]\nlr = { type = "float", low = 0.1, high = 1 }')
    assert list(load_space("made_here:space").dimensions) == ["lr"]
