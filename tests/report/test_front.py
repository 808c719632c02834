"""The report of a search for several objectives."""

from __future__ import annotations

from tests.report.studies import detail_of, trial_of
from tests.report.test_page import complete, no_plotly, read  # noqa: F401 - a fixture for all tests

COSTS = ("latency_ms", "parameters")


def front_page(**changes):
    trials = [
        complete(0, 0.5, 0.9, costs={"latency_ms": 4.0, "parameters": 12_345}),
        complete(1, 0.5, 0.7, costs={"latency_ms": 1.5, "parameters": 20_000}),
        complete(2, 0.4, 0.6, costs={"latency_ms": 9.0, "parameters": 30_000}),
        trial_of(3, (0.3,), state="pruned", best_checkpoint=None, costs={"latency_ms": 2.0, "parameters": 99}),
    ]
    return read(detail_of(*trials, costs=COSTS, **changes))


def test_the_front_is_a_table_and_a_chart_for_each_cost():
    page = front_page()
    assert page.ids()[:2] == ["best", "front"]
    assert "Of 2 trials no other one is better in all of validation accuracy, milliseconds for one picture" in page.text
    assert "0.9000 4 12,345" in page.text
    chart = page.charts["front:latency_ms"]
    assert [(trace["name"], trace["x"], trace["customdata"]) for trace in chart["data"]] == [
        ("stopped early", [2.0], [3]),
        ("trained to the end", [4.0, 1.5, 9.0], [0, 1, 2]),
        ("on the front", [1.5, 4.0], [1, 0]),
    ]
    assert page.charts["front:parameters"]["data"][-1]["mode"] == "markers"
    assert "went on only if it was on the front of validation accuracy, milliseconds for one picture" in page.text


def test_with_one_objective_there_is_no_front():
    page = read(detail_of(complete(0, 0.5, 0.9), complete(1, 0.5, 0.7)))
    assert "front" not in page.ids()
    assert not [key for key in page.charts if key.startswith("front:")]
