"""docs/scale.md says what the benchmark recorded, and the results say what they were measured on."""

from __future__ import annotations

import json
import re

import pytest

from tests.imports import BENCHMARKS, importing_from

ROOT = BENCHMARKS.parent


@pytest.fixture(scope="module")
def tables():
    with importing_from(BENCHMARKS):
        import scale_tables
    return scale_tables


@pytest.fixture(scope="module")
def recorded():
    return json.loads((ROOT / "benchmarks" / "results" / "scale.json").read_text())


def test_every_table_of_the_page_is_that_of_the_recorded_results(tables, recorded):
    page = (ROOT / "docs" / "scale.md").read_text()
    assert tables.fill(page, recorded) == page
    assert set(re.findall(r"<!-- (\w+) -->\n", page)) - {"end"} == set(tables.TABLES)


def test_outside_its_tables_the_page_states_no_measured_number():
    page = (ROOT / "docs" / "scale.md").read_text()
    text = re.sub(r"<!-- \w+ -->\n.*?<!-- end -->", "", page, flags=re.DOTALL)
    text = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    # 1,024 workers, -9 of kill: what was asked, not what was found.
    assert set(re.findall(r"\d[\d,.]*\d|\d", text)) <= {"1,024", "64", "256", "9"}


def test_each_measurement_was_repeated_and_its_circumstances_are_there(recorded):
    sections = {"processes", "hosted", "studies", "machines", "tpe", "appends"}
    assert set(recorded["circumstances"]) == sections
    for about in recorded["circumstances"].values():
        assert {"cpu", "cores", "versions", "commit", "when", "load_before", "load_after"} <= set(about)
        assert about["repeats"] >= 3
    rows = [*recorded["processes"], *recorded["hosted"], *recorded["studies"]]
    assert min(row["reports_per_s"]["n"] for row in rows) >= 3
    assert {row["workers"] for row in recorded["hosted"]} >= {64, 256, 1024}


def test_a_machine_that_joins_is_used_within_15_s_and_its_end_costs_at_most_the_epochs_since_a_checkpoint(recorded):
    machines = recorded["machines"]
    assert machines["join_to_first_report_s"]["max"] < 15
    assert machines["epochs_lost"]["max"] < machines["save_every_epochs"]
