"""docs/speed.md says what the benchmarks recorded, and each result says what it was measured on."""

from __future__ import annotations

import re

import pytest

from tests.imports import BENCHMARKS, importing_from

PAGE = BENCHMARKS.parent / "docs" / "speed.md"
SCRIPTS = BENCHMARKS / "speed"


@pytest.fixture(scope="module")
def page():
    with importing_from(SCRIPTS):
        import speed_page
    return speed_page


def test_every_table_of_the_page_is_that_of_the_recorded_results(page):
    text = PAGE.read_text()
    assert page.fill(text, page.recorded()) == text
    names = set(re.findall(r"<!-- (\w+) -->\n", text)) - {"end"}
    assert names == {"circumstances", *page.QUESTIONS}


def test_each_question_has_a_script(page):
    assert all((SCRIPTS / f"{question}.py").is_file() for question in page.QUESTIONS)


def test_outside_its_tables_the_page_states_no_measured_number():
    text = re.sub(r"<!-- \w+ -->\n.*?<!-- end -->", "", PAGE.read_text(), flags=re.DOTALL)
    text = re.sub(r"`[^`]*`", "", text)
    assert set(re.findall(r"\d+", text)) <= {"32"}  # of fp32


def test_each_result_says_what_it_was_measured_on(page):
    for by_hardware in page.recorded().values():
        for entry in by_hardware.values():
            about = entry["about"]
            assert {"cpu", "cores", "versions", "commit", "when", "load_before", "load_after"} <= set(about)
            assert about["commit"]
            assert entry["rows"]


def test_a_goal_is_told_and_judged_by_the_median(page):
    found = {"median": 5.0, "min": 4.0, "max": 9.0, "n": 3}
    ratio = {"what": "rate", "unit": "1/s", "a": found, "b": found, "ratio": {**found, "median": 6.1}}
    ratio["goal"] = {"of": "ratio", "limit": 6.0, "at_least": True}
    seconds = {"what": "start", "unit": "s", "a": found, "goal": {"of": "a", "limit": 4.0, "at_least": False}}
    shown = page.answers({"rows": [ratio, seconds], "notes": {"workers": 2}})
    assert "| rate | 5 (4 to 9) 1/s | 5 (4 to 9) 1/s | 6.1 (4 to 9) times | at least 6 times | yes | 3 |" in shown
    assert "| start | 5 (4 to 9) s |  |  | at most 4 s | no | 3 |" in shown
    assert shown.endswith("workers: 2")
