"""What follows from an epoch of a trial: it goes on, is stopped or pauses at its rung, or is complete; one append
commits it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from optuna.trial import TrialState

from tuner import failpoints
from tuner.exchange import Assignment, Report
from tuner.judging import decide
from tuner.promotion import Promotions
from tuner.search.trials import Trials
from tuner.spec import Standing
from tuner.store.journal import Journal


def record_epoch(
    trials: Trials,
    journal: Journal,
    rungs: dict[int, list[Standing]],
    promotions: Promotions,
    assignment: Assignment,
    report: Report,
    used: Mapping[str, Any],
) -> bool:
    """Commit the report and what follows from it at once; True if the attempt is over: the trial has ended, or paused.

    rungs: by epoch, the standings of trials there; gets this one if the epoch is a rung, and so does `promotions`.
    used: what the attempt has occupied, see `tuner.usage.so_far`.
    """
    spec, number, epoch, score = trials.spec, assignment.number, report.epoch, report.score
    values = trials[number].intermediate_values
    # An epoch trained again after a crash changes nothing: the first report stands, with what was decided on it.
    new = epoch not in values
    compared = assignment.confirms is None and epoch > assignment.continued_from
    at_rung = new and compared and epoch in spec.rungs(assignment.max_epochs)
    promotes = at_rung and spec.asha == "promote"
    paused = promotes and not report.waited  # a trial on its plateau has nothing to go on for
    costs = trials[number].user_attrs.get("costs") or report.costs  # measured again, they would differ a little
    standing = spec.standing(score, costs)
    decision = decide(spec, standing, rungs[epoch]) if at_rung and not promotes else None
    stopped = decision is not None and not decision.go_on
    complete = not stopped and not paused and (report.waited > 0 or epoch >= assignment.max_epochs)
    with failpoints.durable("report-committed"), journal.transition():
        if new:
            trials.set_score(number, epoch, score)
            details = {**report.details(), "attempt": assignment.attempt, "recorded_s": round(time.time(), 3)}
            over = {"over": True} if paused or "over" in used else {}
            trials.set(number, f"report:{epoch}", {**details, "used_s": used["used_s"], **over})
        else:
            trials.set(number, f"attempt:{assignment.attempt}", dict(used))
        if costs and "costs" not in trials[number].user_attrs:
            trials.set(number, "costs", costs)
        _record_checkpoints(trials, number, report, {epoch: score, **values})
        if "over" in used and not (complete or stopped or paused):
            trials.set(number, "life", 0)  # it waits, for another driver or a larger budget
        if complete:
            if epoch < assignment.max_epochs:
                trials.set(number, "reason", {"kind": "plateau", "waited": report.waited})
            best = max if spec.direction == "maximize" else min
            trials.end(number, TrialState.COMPLETE, best([*values.values(), score]))
        elif decision is not None and stopped:
            trials.set(number, "reason", {"kind": "asha", "rung": epoch, **decision.as_reason()})
            trials.end(number, TrialState.PRUNED, score)
        elif paused:
            trials.set(number, "paused", epoch)
    if at_rung:
        rungs[epoch].append(standing)
    if promotes:
        promotions.arrived(number, epoch, standing)
    if paused:
        promotions.paused(number, epoch)
    if complete and assignment.confirms is None:
        promotions.completed()
    return stopped or complete or paused


def end_paused(trials: Trials, journal: Journal, promotions: Promotions) -> list[int]:
    """End all trials that wait at a rung, for nobody can be promoted any more: pruned, each with its rank there."""
    waiting = promotions.waiting
    with journal.transition():
        for number, rung in waiting.items():
            trials.set(number, "reason", promotions.reason(number))
            trials.end(number, TrialState.PRUNED, trials[number].intermediate_values[rung])
    for number in waiting:
        promotions.over(number)
    return list(waiting)


def _record_checkpoints(trials: Trials, number: int, report: Report, values: Mapping[int, float]) -> None:
    if report.checkpoint is not None:
        previous = trials[number].user_attrs.get("checkpoint")
        if previous is not None and previous["path"] != report.checkpoint.path:
            trials.set(number, "previous_checkpoint", previous)
        trials.set(number, "checkpoint", report.checkpoint.as_dict())
    # Devices need not repeat bit for bit: the best of an epoch that was trained again may have another score than
    # the one that stands. Only weights whose score is the journal's are named, so that they can be exported.
    if report.best is not None and values.get(report.best.epoch) == report.best.score:
        trials.set(number, "best_checkpoint", report.best.as_dict())
    if report.restarted:
        trials.set(number, "restarts", [*trials[number].user_attrs.get("restarts", []), report.restarted])
