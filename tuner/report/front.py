"""The section of a report on the front of several objectives: its trials side by side, and a chart for each cost."""

from __future__ import annotations

from typing import Any

from tuner.best import Best
from tuner.progress import format_value
from tuner.report.figures import OUTCOME_NAMES, Chart, axis, log_ticks, metric_name, short_number
from tuner.report.html import Html, paragraph, table, tag, text
from tuner.report.layout import Page
from tuner.report.record import StudyDetail
from tuner.training.objectives import format_value_of

_STATES = ("pruned", "complete")


def front(page: Page, detail: StudyDetail) -> None:
    """The front; nothing for a study with one objective, or before there is one."""
    found, spec = detail.study.front, detail.spec
    if not found:
        return
    names = [name for name in spec.space.dimensions if any(name in best.params for best in found)]
    rows: list[list[object]] = [_row(best, spec.costs, names) for best in found]
    headings = ["trial", *map(metric_name, spec.objectives), *names]
    words = (
        f"Of {len(found)} trials no other one is better in all of {', '.join(map(metric_name, spec.objectives))}: to "
        "gain in one of them costs something in another. An export is of the first one unless another is preferred."
        if len(found) > 1
        else f"One trial is the best by each of {', '.join(map(metric_name, spec.objectives))}."
    )
    charts = [
        page.draw(f"front:{cost}", _score_by_cost(detail, found, cost), f"score over {metric_name(cost)}")
        for cost in spec.costs
    ]
    content: list[Html] = [paragraph(words), table(headings, rows, numbers=range(1 + len(spec.objectives)))]
    if len(spec.costs) > 1:
        content.append(
            paragraph("A trial may be on the front for another cost than the one that a chart shows.", "quiet")
        )
    grid = tag("div", *(tag("div", chart) for chart in charts), class_="grid two")
    page.section("front", "The front", *content, grid, short="Front")


def _row(best: Best, costs: tuple[str, ...], names: list[str]) -> list[object]:
    values = [format_value_of(cost, best.costs[cost]) for cost in costs]
    params = [format_value(best.params.get(name, "\N{EM DASH}")) for name in names]
    return [best.trial, tag("b", text(f"{best.value:.4f}")), *values, *params]


def _score_by_cost(detail: StudyDetail, found: list[Best], cost: str) -> Chart:
    """The best score of each trial over what it costs; those on the front are marked."""
    spec = detail.spec
    traces: list[dict[str, Any]] = []
    ends: list[float] = []
    for state in _STATES:
        rows = [
            (trial.record.costs[cost], epoch.score, trial.record.number)
            for trial in detail.trials
            if trial.record.state == state and cost in trial.record.costs and (epoch := trial.best(spec.direction))
        ]
        if rows:
            ends += [row[0] for row in rows]
            traces.append(_points(OUTCOME_NAMES[state], rows, color=f"@{state}", size=7, opacity=0.7))
    on_front = sorted((best.costs[cost], best.value, best.trial) for best in found)
    ends += [row[0] for row in on_front]
    marked = _points("on the front", on_front, color="@best", size=10, opacity=1.0)
    if len(spec.costs) == 1:
        marked |= {"mode": "lines+markers", "line": {"shape": "hv", "color": "@best", "width": 2}}
    ticks = log_ticks(min(ends), max(ends))
    layout = {
        "xaxis": axis(metric_name(cost), type="log", tickvals=ticks, ticktext=[short_number(tick) for tick in ticks]),
        "yaxis": axis(metric_name(spec.metric)),
        "hovermode": "closest",
    }
    return Chart([*traces, marked], layout, height=340)


def _points(
    name: str, rows: list[tuple[float, float, int]], *, color: str, size: int, opacity: float
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [row[0] for row in rows],
        "y": [round(row[1], 5) for row in rows],
        "customdata": [row[2] for row in rows],
        "hovertemplate": "trial %{customdata}: %{x:,.4g}, %{y:.4f}<extra></extra>",
        "marker": {"color": color, "size": size, "opacity": opacity},
    }
