"""Writing into the journal that an attempt ended without an epoch: its trial has failed, or waits for another one."""

from __future__ import annotations

from typing import Any

from optuna.trial import TrialState

from tuner import failpoints
from tuner.exchange import Assignment, Failure
from tuner.search.trials import Trials
from tuner.store.journal import Journal


def end_failed(
    trials: Trials, journal: Journal, assignment: Assignment, failure: Failure, used: dict[str, Any]
) -> None:
    """The trial cannot go on. used: what the attempt has occupied, see `tuner.usage.so_far`."""
    number = assignment.number
    with failpoints.durable("failure-committed"), journal.transition():
        trials.set(number, "reason", failure.as_reason())
        trials.set(number, f"attempt:{assignment.attempt}", used)
        trials.end(number, TrialState.FAIL, None)


def put_back(
    trials: Trials, journal: Journal, assignment: Assignment, used: dict[str, Any], attributes: dict[str, Any]
) -> None:
    """The trial waits for another attempt. attributes: of the trial, to be set with it; `restarts` is one more line."""
    number = assignment.number
    if "restarts" in attributes:
        lines = [*trials[number].user_attrs.get("restarts", []), attributes["restarts"]]
        attributes = {**attributes, "restarts": lines}
    with failpoints.durable("loss-committed"), journal.transition():
        for key, value in {**attributes, "life": 0, f"attempt:{assignment.attempt}": used}.items():
            trials.set(number, key, value)
