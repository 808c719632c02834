"""Charts of what was searched: which dimensions mattered, and where in them the good scores are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tuner.direction import sign_of
from tuner.progress import format_value
from tuner.report.figures import (
    OUTCOME_NAMES,
    OUTCOMES,
    Chart,
    axis,
    evenly,
    log_ticks,
    metric_name,
    plain,
    shortened,
    spread,
)
from tuner.report.record import StudyDetail, TrialDetail

POINTS = 400
"""A slice shows so many trials of one outcome at the most."""
LINES = 1000
"""Parallel coordinates show so many trials at the most: those that got furthest."""

_ABSENT = "\N{EM DASH}"
_AXIS_PX = 104
_TICKS = 6
_FEW = 8


def importance(shares: Mapping[str, float]) -> Chart:
    """Bars, the longest on top."""
    bar = {
        "type": "bar",
        "orientation": "h",
        "y": [plain(name) for name in shares],
        "x": [round(share, 4) for share in shares.values()],
        "text": [f"{share:.0%}" for share in shares.values()],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": "@accent"},
        "hoverinfo": "skip",
    }
    highest = max(shares.values(), default=1.0)
    layout = {
        "bargap": 0.4,
        "showlegend": False,
        "xaxis": axis("share of what sets the best trials apart", tickformat=".0%", range=[0, highest * 1.15]),
        "yaxis": axis(autorange="reversed", type="category", ticklabelstandoff=6),
        "margin": {"t": 8},
    }
    return Chart([bar], layout, height=90 + 30 * len(shares))


def slices(detail: StudyDetail) -> dict[str, Chart]:
    """For each dimension the best score of each trial over its value there."""
    return {name: _slice(detail, name, table) for name, table in detail.spec.space.dimensions.items()}


def _slice(detail: StudyDetail, name: str, table: Mapping[str, Any]) -> Chart:
    traces = []
    for outcome in OUTCOMES:
        rows = [
            trial
            for trial in detail.trials
            if trial.record.state == outcome and trial.epochs and name in trial.record.params
        ]
        rows = evenly(rows, POINTS)
        if rows:
            traces.append(_points(detail, rows, name, table, outcome))
    best = detail.study.best
    if best is not None and name in best.params:
        x = _position(table, best.params[name], 0.0)
        traces.append(
            {
                **_marker([x], [best.value], [best.trial], [format_value(best.params[name])], name),
                "name": "best",
                "marker": {"color": "@best", "size": 13, "symbol": "star", "line": {"color": "@surface", "width": 1}},
            }
        )
    layout = {
        "xaxis": axis(name, **_scale(table)),
        "yaxis": axis(),
        "showlegend": False,
        "hovermode": "closest",
        "margin": {"l": 44, "r": 10, "t": 10, "b": 44},
    }
    return Chart(traces, layout, height=240)


def _points(
    detail: StudyDetail, rows: Sequence[TrialDetail], name: str, table: Mapping[str, Any], outcome: str
) -> dict[str, Any]:
    scores = [epoch.score for trial in rows if (epoch := trial.best(detail.spec.direction)) is not None]
    values = [trial.record.params[name] for trial in rows]
    step = _discrete(table)
    positions = [
        _position(table, value, spread(trial.record.number) * 0.4 * step)
        for trial, value in zip(rows, values, strict=True)
    ]
    points = _marker(
        positions, scores, [t.record.number for t in rows], [format_value(value) for value in values], name
    )
    faded = 0.9 if outcome == "complete" else 0.55
    return {
        **points,
        "name": OUTCOME_NAMES[outcome],
        "marker": {"color": f"@{outcome}", "size": 7 if outcome == "complete" else 5, "opacity": faded},
    }


def _marker(x: list[Any], y: list[float], numbers: list[int], values: list[str], name: str) -> dict[str, Any]:
    shown = [f"trial {number}: {plain(name)} {plain(value)}" for number, value in zip(numbers, values, strict=True)]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": [round(score, 5) for score in y],
        "text": shown,
        "hovertemplate": "%{text}<br>%{y:.4f}<extra></extra>",
    }


def _position(table: Mapping[str, Any], value: Any, offset: float) -> Any:
    """Where a value is on its axis: choices stand side by side."""
    return (table["choices"].index(value) if table["type"] == "choice" else value) + offset


def _discrete(table: Mapping[str, Any]) -> float:
    """The distance of two values where there are few, around which their points are spread; else 0."""
    if table["type"] == "choice":
        return 1.0
    if table["type"] == "float" or table.get("log"):
        return 0.0
    step = float(table.get("step") or 1)
    return step if (table["high"] - table["low"]) / step < _FEW else 0.0


def _scale(table: Mapping[str, Any]) -> dict[str, Any]:
    if table["type"] == "choice":
        labels = [plain(shortened(str(choice), 12)) for choice in table["choices"]]
        places = list(range(len(labels)))
        return {"tickvals": places, "ticktext": labels, "range": [-0.5, len(labels) - 0.5], "zeroline": False}
    if table.get("log"):
        ticks = log_ticks(table["low"], table["high"])
        return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
    step = _discrete(table)
    if step:
        count = round((table["high"] - table["low"]) / step)
        ticks = [table["low"] + index * step for index in range(count + 1)]
        return {"tickvals": ticks, "range": [ticks[0] - step / 2, ticks[-1] + step / 2], "zeroline": False}
    return {"nticks": 6}


def parallel(detail: StudyDetail) -> Chart | None:
    """Each trial as a line through its values, coloured by its best score; None if there is nothing to draw.

    A dimension that a trial does not have is drawn at the foot of its axis.
    """
    direction = detail.spec.direction
    rows = [trial for trial in detail.trials if trial.epochs]
    rows = sorted(rows, key=lambda trial: -len(trial.epochs))[:LINES]
    tables = {name: table for name, table in detail.spec.space.dimensions.items() if not _is_single(table)}
    if len(rows) < 2 or not tables:
        return None
    # The best are drawn last, on top.
    sign = sign_of(direction)
    scored = [(epoch.score, trial) for trial in rows if (epoch := trial.best(direction)) is not None]
    scored.sort(key=lambda pair: sign * pair[0])
    scores = [round(score, 5) for score, _ in scored]
    params = [trial.record.params for _, trial in scored]
    axes = [_coordinate(name, table, [values.get(name) for values in params]) for name, table in tables.items()]
    label = plain(metric_name(detail.spec.metric))
    low, high = min(scores), max(scores)
    ends = [low, high] if low < high else [low - 0.5, high + 0.5]
    axes.append({"label": "score", "values": scores, "range": ends, "tickformat": ".3f"})
    trace = {
        "type": "parcoords",
        "dimensions": axes,
        "line": {
            "color": scores,
            "colorscale": "@scale" if direction == "maximize" else "@scale-reversed",
            "cmin": _color_floor(scores, direction)[0],
            "cmax": _color_floor(scores, direction)[1],
        },
        "labelfont": {"color": "@text", "size": 12},
        "tickfont": {"color": "@muted", "size": 11},
        "rangefont": {"size": 1, "color": "@transparent"},
        "name": label,
    }
    widest = max(len(str(one["label"])) for one in axes)
    width = len(axes) * max(_AXIS_PX, 8 * widest + 24)
    return Chart([trace], {"margin": {"l": 56, "r": 56, "t": 44, "b": 24}}, height=420, min_width=width)


def _is_single(table: Mapping[str, Any]) -> bool:
    if table["type"] == "choice":
        return len(table["choices"]) == 1
    return bool(table["low"] == table["high"])


def _color_floor(scores: Sequence[float], direction: str) -> tuple[float, float]:
    """The colours tell the better half apart: the worse one, which often reaches far down, is of one colour."""
    ordered = sorted(scores)
    middle = ordered[len(ordered) // 2]
    low, high = (middle, ordered[-1]) if direction == "maximize" else (ordered[0], middle)
    return (low, high) if low < high else (ordered[0] - 1e-9, ordered[-1] + 1e-9)


def _coordinate(name: str, table: Mapping[str, Any], values: Sequence[Any]) -> dict[str, Any]:
    """One axis: numbers, with the place for what is absent below the lowest."""
    if table["type"] == "choice":
        choices = table["choices"]
        places = [float(choices.index(value)) if value is not None else None for value in values]
        low, high = 0.0, float(len(choices) - 1)
        ticks = {float(index): shortened(str(choice), 10) for index, choice in enumerate(choices)}
    else:
        number = math.log10 if table.get("log") else float
        places = [number(value) if value is not None else None for value in values]
        low, high = number(table["low"]), number(table["high"])
        ticks = _ticks(table, low, high)
    drawn: list[float] = []
    foot = low - (high - low) * 0.12
    for place in places:
        drawn.append(round(foot if place is None else place, 6))
    if None in places:
        ticks[foot] = _ABSENT
        low = foot
    return {
        "label": plain(name),
        "values": drawn,
        "range": [low, high],
        "tickvals": list(ticks),
        "ticktext": [plain(text) for text in ticks.values()],
    }


def _ticks(table: Mapping[str, Any], low: float, high: float) -> dict[float, str]:
    """Both ends and a few numbers between."""
    steps = _TICKS - 1
    if table["type"] == "int" and not table.get("log"):
        step = table.get("step") or 1
        count = round((high - low) / step)
        keep = max(1, math.ceil(count / steps))
        # Without one that would stand in the last one's way.
        inner = [low + index * step for index in range(0, count, keep) if index <= count - 0.6 * keep]
        return {place: f"{place:g}" for place in [*inner, high]}
    places = [low + (high - low) * index / (steps - 1) for index in range(steps)]
    if table.get("log"):
        return {math.log10(tick): f"{tick:g}" for tick in log_ticks(table["low"], table["high"])}
    return {place: f"{place:.3g}" for place in places}
