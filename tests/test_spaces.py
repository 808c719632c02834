"""What `tuner spaces show` prints of the network, and for which pictures."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tuner.cli.spaces import show as spaces_show
from tuner.cli.spaces import spaces
from tuner.errors import UsageError
from tuner.space import load_space

CONDITIONAL = """
[space]
momentum = { type = "float", low = 0.5, high = 0.99, only_if = { optimizer = ["sgd", "adamw"] } }
optimizer = { type = "choice", choices = ["sgd", "adamw", "adam"] }
"""


def show(*arguments: str) -> str:
    result = CliRunner().invoke(spaces, ["show", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_layers_of_the_start_are_shown_with_their_parameters():
    printed = show("classic-mnist")
    assert "width: int from 16 to 64 in steps of 16; starts with 32\n" in printed
    network = printed.split("\n\n")[1].splitlines()
    assert network[0] == "the network at [start], for pictures of 28 x 28 x 1 in 10 classes:"
    assert [line.split()[-1] for line in network[1:]] == [
        *("320", "0", "0", "18,496", "0", "0", "0", "102,464", "0", "650"),
        "121,930",
    ]
    assert "  convolution 3 x 3, 64     11 x 11 x 64 " in printed


def test_other_pictures_and_classes_may_be_named():
    printed = show("classic-dropout", "--input", "28x20x1", "--classes", "3")
    assert "for pictures of 28 x 20 x 1 in 3 classes:" in printed
    assert "  dropout 0.25              5 x 3 x 64 " in printed


def test_a_space_without_a_start_is_shown_at_the_defaults_for_pictures_that_somebody_names(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(CONDITIONAL)
    assert show(str(file)).endswith(f"\nits layers: tuner spaces show {file} --input 32x32x3\n")
    assert "the network at the defaults of what is searched, for pictures of 8 x 8 x 1 in 10 classes:" in show(
        str(file), "--input", "8x8x1"
    )


def test_a_condition_is_shown_and_a_dimension_that_is_not_in_the_start_too(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(CONDITIONAL + '[start]\noptimizer = "adam"\n')
    assert show(str(file)).splitlines()[:2] == [
        "momentum: float from 0.5 to 0.99, only if optimizer is sgd or adamw",
        "optimizer: one of sgd, adamw, adam; starts with adam",
    ]


@pytest.mark.parametrize("name", ["digits", "folder", "cifar10", "cifar10-small"])
def test_the_spaces_of_data_sets_begin_with_a_configuration_made_by_hand(name):
    space = load_space(name)
    assert list(space.start) == list(space.dimensions)


@pytest.mark.parametrize("text", ["28", "28x28", "28x28x2", "0x28x1", "28x28x1x1", "axbx1"])
def test_pictures_that_are_not_understood_are_refused_with_an_example_before_anything_is_shown(text, capsys):
    with pytest.raises(UsageError, match=f"--input {text} is not understood: .* such as 28x28x1"):
        spaces_show("digits", input_shape=text)
    assert capsys.readouterr().out == ""
