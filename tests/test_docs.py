"""What the documents say of the program is what the program has."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

from tests.factories import new_spec, new_trial
from tests.report.studies import detail_of, trial_of
from tuner.enqueue import in_space
from tuner.overrides import override
from tuner.space import check_space, load_space, parse_space
from tuner.study import Study
from tuner.training.config import Hyperparameters, describe_range
from tuner.training.dataspec import DataSpec
from tuner.training.survey import survey
from tuner.trialview import as_dict

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


def test_the_examples_of_the_format_are_valid_spaces_and_configurations_in_one():
    page = (ROOT / "search_spaces" / "README.md").read_text()
    example, conditional, given = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    space = parse_space(example, source="README.md")
    assert set(space.dimensions) == {"lr", "dropout", "width", "norm"}
    assert len(parse_space(conditional, source="README.md").dimensions) == 4
    assert len(in_space(tomllib.loads(given)["trial"], space)) == 2
    (function,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict = {}
    exec(function, names)  # noqa: S102 - of our own page
    assert set(check_space(names["wide"](), source="README.md").dimensions) == {"width"}


def test_the_examples_of_set_are_understood():
    page = (ROOT / "search_spaces" / "README.md").read_text()
    rows = page.split("| `--set` |")[1].split("\n\n")[0].splitlines()[2:]
    texts = [text for row in rows for text in re.findall(r"`([^`]+)`", row)]
    assert len(texts) == 7
    for text in texts:
        override(load_space("digits"), [text])


def test_the_keys_of_show_json_are_documented():
    shown = set(as_dict(detail_of(trial_of(0, (0.5,))), 0)) - set(new_trial().as_dict())
    assert documented_keys("tuner show NAME TRIAL --json") == shown
