"""Charts of how the trials went: learning curves with the rungs, and who survived each rung."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tuner.report.figures import OUTCOME_NAMES, OUTCOMES, Chart, axis, evenly, metric_name
from tuner.report.record import StudyDetail, TrialDetail

CURVES = 1500
"""More curves of one outcome than this are thinned out: nobody sees one among them."""

_MANY = 150
_APART = 0.04  # of the axis
_FADED = {"pruned": 0.55, "failed": 0.9, "queued": 0.6, "paused": 0.6, "running": 1.0, "complete": 0.9}


def learning_curves(detail: StudyDetail) -> Chart:
    """The score of each trial by epoch, coloured by what became of the trial; the best trial on top, the rungs as
    vertical lines."""
    spec, best = detail.spec, detail.study.best
    many = len(detail.trials) > _MANY
    traces = []
    for outcome in OUTCOMES:
        rows = [trial for trial in detail.trials if trial.record.state == outcome and trial.epochs]
        if rows:
            width = 1.0 if many else 1.6
            opacity = _FADED[outcome] * (0.6 if many else 1.0)
            traces.append(_curves(evenly(rows, CURVES), OUTCOME_NAMES[outcome], f"@{outcome}", width, opacity))
    winner = [trial for trial in detail.trials if best is not None and trial.record.number == best.trial]
    if winner:
        traces.append(_curves(winner, f"best: trial {winner[0].record.number}", "@best", 3.0, 1.0))
    rungs = spec.rungs(detail.study.max_epochs)
    last = max((epoch.epoch for trial in detail.trials for epoch in trial.epochs), default=1)
    line = {"color": "@muted", "width": 1, "dash": "dot"}
    layout = {
        "xaxis": axis("epoch", range=[0.5, max(last, *rungs, 1) + 0.5], dtick=1 if last <= 15 else None),
        "yaxis": axis(metric_name(spec.metric)),
        "hovermode": "closest",
        "shapes": [
            {"type": "line", "x0": rung, "x1": rung, "y0": 0, "y1": 1, "yref": "paper", "layer": "below", "line": line}
            for rung in rungs
        ],
        "annotations": _numbers(rungs, last),
    }
    return Chart(traces, layout, height=440)


def _numbers(rungs: Sequence[int], last: int) -> list[dict[str, Any]]:
    """The rungs' numbers above their lines, but for those that would touch the one before on a phone."""
    labels: list[dict[str, Any]] = []
    for number, rung in enumerate(rungs, start=1):
        if not labels or rung - labels[-1]["x"] >= _APART * max(last, rung):
            place = {"x": rung, "y": 1.0, "yref": "paper", "yanchor": "bottom"}
            labels.append({**place, "text": str(number), "showarrow": False})
    return labels


def _curves(trials: list[TrialDetail], name: str, color: str, width: float, opacity: float) -> dict[str, Any]:
    """One trace for all of them: None between two curves lifts the pen. A thousand traces would take seconds."""
    epochs: list[int | None] = []
    scores: list[float | None] = []
    numbers: list[int | None] = []
    for trial in trials:
        epochs += [epoch.epoch for epoch in trial.epochs] + [None]
        scores += [round(epoch.score, 5) for epoch in trial.epochs] + [None]
        numbers += [trial.record.number] * len(trial.epochs) + [None]
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(trials) <= _MANY else "lines",
        "name": name,
        "x": epochs,
        "y": scores,
        "customdata": numbers,
        "hovertemplate": "trial %{customdata}, epoch %{x}: %{y:.4f}<extra></extra>",
        "line": {"color": color, "width": width},
        "marker": {"size": 4 if width < 2 else 5, "color": color},
        "opacity": opacity,
    }


def survivors(detail: StudyDetail) -> Chart | None:
    """For each rung how many trials went on, how many ASHA stopped, and how many wait; None if there are no rungs."""
    rungs = detail.study.status()["rungs"]
    if not rungs:
        return None
    counts = detail.study.counts
    names = [f"epoch {rung['epoch']}" for rung in rungs] + [f"end ({detail.study.max_epochs})"]
    went_on = [rung["arrived"] - rung["stopped"] - rung["paused"] for rung in rungs] + [counts["complete"]]
    stopped = [rung["stopped"] for rung in rungs] + [0]
    paused = [rung["paused"] for rung in rungs] + [0]
    layout = {
        "barmode": "stack",
        "bargap": 0.35,
        "xaxis": axis(
            "trials",
            rangemode="tozero",
            tickformat="d",
            dtick=1 if max(went_on) + max(stopped) + max(paused) < 10 else None,
        ),
        "yaxis": axis(autorange="reversed", type="category", ticklabelstandoff=6),
        "hovermode": "closest",
        "legend": {"traceorder": "normal"},
    }
    bars = [_bar("went on", "@complete", names, went_on), _bar("stopped here", "@pruned", names, stopped)]
    if any(paused):
        bars.append(_bar("waits here", "@paused", names, paused))
    return Chart(bars, layout, height=120 + 46 * len(names))


def _bar(name: str, color: str, names: list[str], counts: list[int]) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": names,
        "x": counts,
        "text": [str(count) if count else "" for count in counts],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "textfont": {"color": "#ffffff"},
        "marker": {"color": color},
        "hovertemplate": "%{y}: %{x} " + name + "<extra></extra>",
    }
