"""Charts of time: when the best score was reached, at what cost, and what each worker did meanwhile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuner.progress import format_seconds
from tuner.report.figures import OUTCOME_NAMES, OUTCOMES, Chart, axis, evenly, metric_name, plain, shortened, time_unit
from tuner.report.record import Epoch, StudyDetail, TrialDetail

WORKERS = 64
"""The timeline shows so many workers at the most."""
POINTS = 1000

_ROW_PX = 26
_EDGED, _LEAST_PX = 60, 760


@dataclass(frozen=True)
class Stretch:
    """Epochs that one worker trained of one attempt at one trial, one after the other."""

    worker: str
    trial: TrialDetail
    attempt: int
    start_s: float
    end_s: float
    first: int
    last: int


def over_wall_clock(detail: StudyDetail) -> Chart | None:
    """The best score so far over the time since the first epoch began; None if no epoch has a time."""
    start_s, rows = detail.start_s, detail.timed_epochs()
    if start_s is None:
        return None
    return _best_so_far(detail, rows, [ended_s - start_s for _, _, ended_s in rows], "wall clock")


def over_worker_time(detail: StudyDetail) -> Chart | None:
    """The best score so far over the time that all workers together had trained; None if no epoch has a time."""
    rows = detail.timed_epochs()
    spent, sums = 0.0, []
    for _, epoch, _ in rows:
        spent += epoch.seconds
        sums.append(spent)
    return _best_so_far(detail, rows, sums, "worker time") if rows else None


def _best_so_far(
    detail: StudyDetail, rows: Sequence[tuple[TrialDetail, Epoch, float]], times_s: Sequence[float], what: str
) -> Chart:
    better = max if detail.spec.direction == "maximize" else min
    unit, unit_s = time_unit(times_s[-1])
    times = [round(time_s / unit_s, 4) for time_s in times_s]
    best: float | None = None
    steps: list[tuple[float, float, int]] = []
    for (trial, epoch, _), time in zip(rows, times, strict=True):
        found = epoch.score if best is None else better(best, epoch.score)
        if found != best:
            steps.append((time, round(found, 5), trial.record.number))
        best = found
    assert best is not None
    traces = []
    for outcome in OUTCOMES:
        tops = [
            (trial, epoch, time)
            for (trial, epoch, _), time in zip(rows, times, strict=True)
            if trial.record.state == outcome and trial.best(detail.spec.direction) is epoch
        ]
        tops = evenly(tops, POINTS)
        if tops:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": OUTCOME_NAMES[outcome],
                    "x": [time for _, _, time in tops],
                    "y": [round(epoch.score, 5) for _, epoch, _ in tops],
                    "customdata": [trial.record.number for trial, _, _ in tops],
                    "hovertemplate": "trial %{customdata}: %{y:.4f}<extra></extra>",
                    "marker": {"size": 5, "color": f"@{outcome}", "opacity": 0.6},
                }
            )
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "best so far",
        "x": [time for time, _, _ in steps] + [times[-1]],
        "y": [score for _, score, _ in steps] + [round(best, 5)],
        "customdata": [number for _, _, number in steps] + [steps[-1][2]],
        "hovertemplate": "best after %{x:.1f} " + unit + ": %{y:.4f} (trial %{customdata})<extra></extra>",
        "line": {"shape": "hv", "color": "@best", "width": 2.5},
    }
    layout = {
        "xaxis": axis(f"{what} in {unit}", rangemode="tozero"),
        "yaxis": axis(metric_name(detail.spec.metric)),
        "hovermode": "closest",
    }
    return Chart([*traces, line], layout, height=340)


def stretches(detail: StudyDetail) -> dict[str, list[Stretch]]:
    """What each worker trained, in the order of time; the worker that began first comes first."""
    found: dict[str, list[Stretch]] = defaultdict(list)
    for trial, epoch, ended_s in sorted(detail.timed_epochs(), key=lambda row: row[2]):
        mine = found[epoch.worker]
        start_s = ended_s - epoch.seconds
        last = mine[-1] if mine else None
        if last is not None and last.trial is trial and last.attempt == epoch.attempt and epoch.epoch == last.last + 1:
            mine[-1] = Stretch(epoch.worker, trial, last.attempt, last.start_s, ended_s, last.first, epoch.epoch)
        else:
            mine.append(Stretch(epoch.worker, trial, epoch.attempt, start_s, ended_s, epoch.epoch, epoch.epoch))
    return dict(sorted(found.items(), key=lambda item: item[1][0].start_s))


def timeline(detail: StudyDetail, by_worker: dict[str, list[Stretch]]) -> Chart | None:
    """Who trained what when: a row for each worker, a bar for each trial, white where it was idle."""
    start_s = detail.start_s
    if start_s is None:
        return None
    shown = dict(list(by_worker.items())[:WORKERS])
    end_s = max(one.end_s for mine in shown.values() for one in mine)
    unit, unit_s = time_unit(end_s - start_s)
    rows = {worker: row for row, worker in enumerate(shown)}
    # An edge tells two bars apart; of many bars the edges would look like idle time.
    most = max(len(mine) for mine in shown.values())
    traces = []
    for outcome in OUTCOMES:
        bars = [one for mine in shown.values() for one in mine if one.trial.record.state == outcome]
        if bars:
            traces.append(_bars(bars, outcome, rows, start_s, unit_s, edge=0.5 if most <= _EDGED else 0))
    labels = [plain(shortened(worker.partition(" (")[0], 22)) for worker in shown]
    layout = {
        "xaxis": axis(f"{unit} since the first epoch began", range=[0, (end_s - start_s) / unit_s * 1.01 or 1]),
        "yaxis": axis(
            tickvals=list(rows.values()), ticktext=labels, range=[len(rows) - 0.4, -0.6], showgrid=False, zeroline=False
        ),
        "hovermode": "closest",
    }
    return Chart(traces, layout, height=130 + _ROW_PX * len(rows), min_width=_LEAST_PX if most > _EDGED else 0)


def _bars(
    bars: Sequence[Stretch], outcome: str, rows: dict[str, int], start_s: float, unit_s: float, edge: float
) -> dict[str, Any]:
    """Drawn as bars with a base of their own: their width is time. edge: around each, in pixels."""
    return {
        "type": "bar",
        "orientation": "h",
        "name": OUTCOME_NAMES[outcome],
        "base": [round((one.start_s - start_s) / unit_s, 4) for one in bars],
        "x": [round((one.end_s - one.start_s) / unit_s, 4) for one in bars],
        "y": [rows[one.worker] for one in bars],
        "width": 0.72,
        "offset": -0.36,
        "text": [_label(one) for one in bars],
        "textposition": "none",
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": f"@{outcome}", "line": {"color": "@surface", "width": edge}},
    }


def _label(one: Stretch) -> str:
    epochs = f"epoch {one.first}" if one.first == one.last else f"epochs {one.first} to {one.last}"
    attempt = f", attempt {one.attempt}" if one.attempt > 1 else ""
    spent = format_seconds(one.end_s - one.start_s)
    return f"trial {one.trial.record.number}{attempt}<br>{epochs}, {spent}<br>{plain(one.worker)}"


def busy_share(mine: Sequence[Stretch]) -> tuple[float, float]:
    """Seconds that a worker trained, and the share of the time between its first and its last epoch."""
    busy_s = sum(epoch.seconds for one in mine for epoch in one.trial.epochs if one.first <= epoch.epoch <= one.last)
    there_s = mine[-1].end_s - mine[0].start_s
    return busy_s, min(1.0, busy_s / there_s) if there_s > 0 else 1.0
