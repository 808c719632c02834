"""What the documents say of the program is what the program has."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from tests.factories import new_spec, new_trial
from tuner.space import parse_space
from tuner.study import Study
from tuner.training.config import Hyperparameters, describe_range
from tuner.training.dataspec import DataSpec
from tuner.training.survey import survey

ROOT = Path(__file__).parent.parent


def documented_keys(heading: str) -> set[str]:
    section = (ROOT / "docs" / "json.md").read_text().split(f"## `{heading}`")[1].split("\n## ")[0]
    first_cells = re.findall(r"^\| (`[^|]*)\|", section, flags=re.MULTILINE)
    return {key for cell in first_cells for key in re.findall(r"`(\w+)`", cell)}


def test_the_keys_of_status_json_are_documented():
    assert documented_keys("tuner status --json") == set(Study(new_spec(), (), 8, None).status())


def test_the_keys_of_trials_json_are_documented():
    assert documented_keys("tuner trials --json") == set(new_trial().as_dict())


def test_the_keys_of_data_show_json_are_documented(tmp_path):
    seen = survey(DataSpec("digits", str(tmp_path)))
    assert documented_keys("tuner data show DATASET --json") == {*seen.as_dict(), "cache"}


def test_the_table_of_hyperparameters_is_that_of_the_program():
    page = (ROOT / "search_spaces" / "README.md").read_text()
    expected = [
        f"| `{field.name}` | {describe_range(field.name)} | {field.default} | {field.metadata['meaning']} |"
        for field in fields(Hyperparameters)
    ]
    assert [line for line in page.splitlines() if re.match(r"\| `\w+` \| (a |one of)", line)] == expected


def test_the_example_of_the_format_is_a_valid_space():
    page = (ROOT / "search_spaces" / "README.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    assert set(parse_space(example, source="README.md").dimensions) == {"lr", "dropout", "width", "norm"}
