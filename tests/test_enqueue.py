"""`--enqueue`: what a file may hold, and how its configurations are checked and completed."""

import pytest

from tuner.enqueue import in_space, read_configurations
from tuner.errors import UsageError
from tuner.space import parse_space

SPACE = """
[space]
lr = { type = "float", low = 1e-3, high = 0.3, log = true }
width = { type = "int", low = 16, high = 64, step = 16 }
optimizer = { type = "choice", choices = ["sgd", "adamw"] }
momentum = { type = "float", low = 0.5, high = 0.95, only_if = { optimizer = "sgd" } }
"""
START = '[start]\nlr = 0.05\nwidth = 48\noptimizer = "sgd"\nmomentum = 0.9\n'


def test_the_tables_of_a_file_are_read_in_their_order(tmp_path):
    file = tmp_path / "given.toml"
    file.write_text('[[trial]]\nlr = 1e-2\n[[trial]]\nwidth = 32\noptimizer = "sgd"\n')
    assert read_configurations(file) == ({"lr": 0.01}, {"width": 32, "optimizer": "sgd"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[trial", "is not valid TOML"),
        ("", "must hold .* tables"),
        ("[trial]\nlr = 1", "must hold .* tables"),
        ("trial = [1]", "must hold .* tables"),
        ("[[trial]]\nlr = 1\n[other]", "nothing else"),
        (b"\xff\xfe", "it is not text"),
        (None, "No such file"),
    ],
)
def test_another_file_is_refused_in_one_line_with_its_name(tmp_path, text, said):
    file = tmp_path / "given.toml"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=rf"--enqueue {file} .*{said}"):
        read_configurations(file)


def test_a_constant_of_the_space_may_be_named_with_its_value_and_no_other():
    space = parse_space(SPACE + "[constants]\ndepth = 3\n", source="s")
    assert in_space(({"lr": 0.1, "depth": 3},), space) == ({"lr": 0.1},)
    with pytest.raises(UsageError, match=r"1: depth = 4, but this space has depth = 3 for every trial: leave it out"):
        in_space(({"depth": 4},), space)


def test_what_is_missing_comes_from_the_start_as_far_as_it_exists_there():
    given = ({"lr": 0.1}, {"optimizer": "adamw"}, {"momentum": 0.6})
    assert in_space(given, parse_space(SPACE + START, source="s")) == (
        {"lr": 0.1, "width": 48, "optimizer": "sgd", "momentum": 0.9},
        {"lr": 0.05, "width": 48, "optimizer": "adamw"},
        {"lr": 0.05, "width": 48, "optimizer": "sgd", "momentum": 0.6},
    )


def test_without_a_start_it_is_left_to_the_sampler():
    assert in_space(({"width": 16}, {}), parse_space(SPACE, source="s")) == ({"width": 16}, {})


@pytest.mark.parametrize(
    ("wrong", "parts"),
    [
        ({"lr": 3.0}, ["lr = 3.0", "from 0.001 to 0.3"]),
        ({"width": 24}, ["width = 24", "in steps of 16"]),
        ({"depth": 2}, ["unknown key 'depth'", "known are lr"]),
        ({"optimizer": "adamw", "momentum": 0.9}, ["momentum exists only if optimizer is sgd"]),
        ({"lr": "fast"}, ["lr = 'fast'"]),
        ({"lr": [0.1]}, ["lr = [0.1]"]),
    ],
)
def test_one_that_is_not_in_the_space_is_refused_by_its_number(wrong, parts):
    for text in (SPACE, SPACE + START):
        with pytest.raises(UsageError) as refusal:
            in_space(({"lr": 0.1}, wrong), parse_space(text, source="s"))
        assert [part for part in ["--enqueue: [[trial]] 2: ", *parts] if part not in str(refusal.value)] == []
