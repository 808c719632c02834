"""Charts of the exported model and of how large the networks were."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tuner.direction import sign_of
from tuner.report.figures import Chart, axis, log_ticks, metric_name, plain, short_number, shortened
from tuner.report.record import StudyDetail

_PAD = 0.01  # of accuracy, above and below
_NUMBERED = 15  # classes up to which each cell shows its number


def confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> Chart:
    """Counts of test pictures: true classes as rows, predicted ones as columns; each row coloured by its share."""
    shares = [[count / max(1, sum(row)) for count in row] for row in matrix]
    names = [plain(shortened(name, 14)) for name in classes]
    count = len(classes)
    places = list(range(count))
    full = [plain(name) for name in classes]
    trace: dict[str, Any] = {
        "type": "heatmap",
        "z": [[round(share, 4) for share in row] for row in shares],
        "x": places,
        "y": places,
        "zmin": 0,
        "zmax": 1,
        "colorscale": "@heat",
        "showscale": False,
        "xgap": 1 if count <= 40 else 0,
        "ygap": 1 if count <= 40 else 0,
        "text": [[str(cell) if cell else "" for cell in row] for row in matrix],
        "customdata": [[[full[row], full[column], matrix[row][column]] for column in places] for row in places],
        "hovertemplate": "%{customdata[0]} taken for %{customdata[1]}: %{customdata[2]} (%{z:.1%})<extra></extra>",
    }
    if count <= _NUMBERED:
        trace["texttemplate"] = "%{text}"
    ticks = {"tickvals": places, "ticktext": names, "showgrid": False, "zeroline": False} if count <= 60 else {}
    side = max(320, min(760, 90 + 34 * count))
    layout = {
        "xaxis": axis(
            "predicted",
            **ticks,
            side="bottom",
            tickangle=-45 if count > 4 and max(map(len, classes)) > 3 else 0,
            constrain="domain",
        ),
        "yaxis": axis("true", **ticks, autorange="reversed", ticklabelstandoff=4),
        "hovermode": "closest",
        "showlegend": False,
        "margin": {"t": 8},
    }
    return Chart([trace], layout, height=side, min_width=min(520, 50 + 24 * count))


def score_by_size(detail: StudyDetail, sizes: Mapping[int, int]) -> Chart | None:
    """The best score of each complete trial over the number of parameters of its network, with the front: no smaller
    network has a better score. sizes: trial -> parameters. None if no complete trial has a size."""
    direction = detail.spec.direction
    rows = [
        (sizes[trial.record.number], epoch.score, trial.record.number)
        for trial in detail.trials
        if trial.record.state == "complete" and trial.record.number in sizes and (epoch := trial.best(direction))
    ]
    if not rows:
        return None
    sign = sign_of(direction)
    front: list[tuple[int, float, int]] = []
    for row in sorted(rows, key=lambda row: (row[0], -sign * row[1])):
        if not front or sign * row[1] > sign * front[-1][1]:
            front.append(row)
    hover = "trial %{customdata}: %{x:,} parameters, %{y:.4f}<extra></extra>"
    points = [
        ("trained to the end", rows, {"mode": "markers", "marker": {"color": "@complete", "size": 7, "opacity": 0.8}}),
        (
            "best for its size",
            front,
            {
                "mode": "lines+markers",
                "line": {"shape": "hv", "color": "@best", "width": 2},
                "marker": {"color": "@best", "size": 8},
            },
        ),
    ]
    ticks = log_ticks(min(size for size, _, _ in rows), max(size for size, _, _ in rows))
    traces = [
        {
            "type": "scatter",
            "name": name,
            "x": [size for size, _, _ in some],
            "y": [round(score, 5) for _, score, _ in some],
            "customdata": [number for _, _, number in some],
            "hovertemplate": hover,
            **style,
        }
        for name, some, style in points
    ]
    layout = {
        "xaxis": axis(
            "parameters of the network", type="log", tickvals=ticks, ticktext=[short_number(tick) for tick in ticks]
        ),
        "yaxis": axis(metric_name(detail.spec.metric)),
        "hovermode": "closest",
    }
    return Chart(traces, layout, height=340)


def accuracy_by_latency(models: Mapping[str, Mapping[str, Any]]) -> Chart | None:
    """Test accuracy of each exported file over the median time of one picture, the larger the file the larger its
    point. models: as metrics.json has them. None for a single file, which is compared with nothing."""
    if len(models) < 2:
        return None
    scores = [entry["accuracy"] for entry in models.values()]
    largest = max(entry["bytes"] for entry in models.values())
    points = {
        "type": "scatter",
        "mode": "markers+text",
        "x": [entry["latency"]["1"]["median_ms"] for entry in models.values()],
        "y": [round(entry["accuracy"], 5) for entry in models.values()],
        "text": [plain(name) for name in models],
        "customdata": [f"{entry['bytes'] / 1e6:.2f} MB" for entry in models.values()],
        "textposition": "top center",
        "cliponaxis": False,
        "hovertemplate": "%{text}: %{y:.4f}, %{x:.3g} ms, %{customdata}<extra></extra>",
        "marker": {
            "color": "@accent",
            "opacity": 0.8,
            "size": [8 + 24 * math.sqrt(entry["bytes"] / largest) for entry in models.values()],
        },
    }
    layout = {
        "xaxis": axis("milliseconds for one picture (median)", rangemode="tozero"),
        "yaxis": axis("test accuracy", range=[min(scores) - _PAD, max(scores) + _PAD]),
        "showlegend": False,
        "hovermode": "closest",
        "margin": {"t": 40, "r": 60},
    }
    return Chart([points], layout, height=320)
