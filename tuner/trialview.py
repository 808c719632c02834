"""One trial as text for a terminal: parameters, learning curve with rungs, where it ran, why it ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tuner.progress import describe_end, format_seconds, format_value
from tuner.report.record import Epoch, StudyDetail, TrialDetail
from tuner.training.objectives import format_costs, format_scores
from tuner.training.remarks import plural

WIDTH, HEIGHT = 60, 10
"""Of the curve, in characters without its axes."""

_BLOCKS = " ▁▂▃▄▅▆▇█"
_STATES = {
    "queued": "waits for a worker",
    "running": "still running",
    "paused": "waits at its rung to be among the best",
    "complete": "trained to the end",
}


def as_dict(detail: StudyDetail, number: int) -> dict[str, Any]:
    """What `tuner show --json` prints."""
    trial = detail.trials[number]
    best = trial.best(detail.spec.direction)
    return {
        **trial.record.as_dict(),
        "metric": detail.spec.metric,
        "best": None if best is None else {"epoch": best.epoch, "value": best.score},
        "max_epochs": trial.record.max_epochs or detail.spec.max_epochs,
        "rungs": list(trial.record.rungs(detail.spec)),
        "constants": detail.spec.space.constants,
        "epochs": [
            {
                "epoch": epoch.epoch,
                "score": epoch.score,
                "train_loss": epoch.train_loss,
                "val_loss": epoch.val_loss,
                **epoch.scores,
                "seconds": epoch.seconds,
                "worker": epoch.worker,
                "attempt": epoch.attempt,
                "ended_s": epoch.ended_s,
            }
            for epoch in trial.epochs
        ],
        "restarts": list(trial.restarts),
        "losses": trial.losses,
    }


def lines(detail: StudyDetail, number: int) -> list[str]:
    """What `tuner show` prints."""
    trial, spec = detail.trials[number], detail.spec
    record, best = trial.record, trial.best(spec.direction)
    shown = [f"trial {number} of study {spec.name}: {record.state}{_why(trial)}"]
    if best is not None:
        is_best = detail.study.best is not None and detail.study.best.trial == number
        of_study = ", the best of the study" if is_best else ""
        shown.append(f"best {spec.metric} {best.score:.4f} at epoch {best.epoch}{of_study}")
        others = {name: value for name, value in best.scores.items() if name != spec.metric}
        if others:
            shown.append(f"with {format_scores(others)}")
    if record.costs:
        on_front = any(one.trial == number for one in detail.study.front)
        shown.append(f"its network: {format_costs(record.costs)}{', on the front' if on_front else ''}")
    if record.continues is not None:
        shown.append(f"goes on with trial {record.continues} after epoch {record.continued_from}")
    if record.confirms is not None:
        shown.append(f"confirms trial {record.confirms}: the same configuration with another seed")
    shown += ["", *_parameters(trial, detail), *_curve(trial, detail), *_places(trial)]
    for line in trial.restarts:
        shown.append(f"went back: {line}")
    if trial.losses:
        shown.append(f"{plural(trial.losses, 'attempt')} ended because the worker was lost")
    trace = (record.reason or {}).get("traceback")
    if trace:
        shown += ["", *str(trace).rstrip().splitlines()]
    return shown


def _why(trial: TrialDetail) -> str:
    end = describe_end(trial.record) or _STATES.get(trial.record.state, "")
    return f", {end}" if end else ""


def _parameters(trial: TrialDetail, detail: StudyDetail) -> list[str]:
    params, constants = trial.record.params, detail.spec.space.constants
    width = max((len(name) for name in (*params, *constants)), default=0)
    shown = [f"{name.ljust(width)}  {format_value(value)}" for name, value in params.items()]
    shown += [f"{name.ljust(width)}  {format_value(value)} (constant)" for name, value in constants.items()]
    return [*shown, ""] if shown else []


def _curve(trial: TrialDetail, detail: StudyDetail) -> list[str]:
    if not trial.epochs:
        return ["it has not finished an epoch"]
    rungs = trial.record.rungs(detail.spec)
    last = trial.record.max_epochs or detail.spec.max_epochs
    first = trial.record.continued_from + 1
    heading = f"{detail.spec.metric} by epoch" + (f", rungs (:) at {', '.join(map(str, rungs))}" if rungs else "")
    return [heading, *plot(trial.epochs, first, last, rungs), ""]


def plot(epochs: Sequence[Epoch], first: int, last: int, rungs: Sequence[int]) -> list[str]:
    """The scores from epoch `first` to `last` as columns of block characters, HEIGHT lines high, and an axis below.

    Where there are more epochs than WIDTH, a column is the last of several; where there are fewer, it is several wide.
    """
    count = last - first + 1
    wide = max(1, WIDTH // count) if count <= WIDTH else 1
    columns = min(count, WIDTH)

    def column(epoch: int) -> int:
        return (epoch - first) * columns // count

    scores = [epoch.score for epoch in epochs]
    low, high = min(scores), max(scores)
    low -= 0.08 * (high - low)  # the lowest score is seen too
    by_column = {column(epoch.epoch): epoch.score for epoch in epochs}
    steps = HEIGHT * (len(_BLOCKS) - 1)
    heights = {
        place: round((score - low) / (high - low) * steps) if high > low else steps
        for place, score in by_column.items()
    }
    marked = {column(rung) for rung in rungs}
    shown = []
    for row in range(HEIGHT - 1, -1, -1):
        cells = []
        for place in range(columns):
            filled = min(max(heights.get(place, 0) - row * (len(_BLOCKS) - 1), 0), len(_BLOCKS) - 1)
            cell = _BLOCKS[filled] * wide
            # A rung is drawn where it hides nothing: above the column, at its right end.
            cells.append(cell[:-1] + ":" if place in marked and not filled else cell)
        label = f"{high:.4f}" if row == HEIGHT - 1 else f"{low:.4f}" if row == 0 and high > low else ""
        shown.append(f"{label:>10} |{''.join(cells).rstrip()}")
    shown.append(f"{'':>10} +{'-' * (columns * wide)}")
    shown.append(f"{'':>10}  {first}{str(last).rjust(columns * wide - len(str(first))) if count > 1 else ''}")
    return shown


def _places(trial: TrialDetail) -> list[str]:
    """A line for each attempt and worker: the epochs that it trained there."""
    runs: list[tuple[int, str, list[Epoch]]] = []
    for epoch in trial.epochs:
        if runs and runs[-1][:2] == (epoch.attempt, epoch.worker):
            runs[-1][2].append(epoch)
        else:
            runs.append((epoch.attempt, epoch.worker, [epoch]))
    shown = []
    for attempt, worker, epochs in runs:
        which = f"epoch {epochs[0].epoch}" if len(epochs) == 1 else f"epochs {epochs[0].epoch} to {epochs[-1].epoch}"
        spent = format_seconds(sum(epoch.seconds for epoch in epochs))
        shown.append(f"attempt {attempt}: {which} on {worker}, {spent}")
    if trial.record.attempt > (runs[-1][0] if runs else 0):
        shown.append(f"attempt {trial.record.attempt}: no epoch yet")
    return shown
