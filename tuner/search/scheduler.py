"""Who goes on, for Ray Tune: passes each result to the record, which decides by ASHA and commits first; and gives up
attempts that make no progress.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import ray
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tuner.search.forgetting import forget_attempts
from tuner.search.searcher import StudySearcher
from tuner.search.watch import ProgressWatch

_log = logging.getLogger(__name__)

# Ray's OutOfMemoryError goes on for pages, and ends with advice about Ray's settings (Ray 2.60).
_OUT_OF_MEMORY = re.compile(r"killed due to the node running low on memory\. .* was (\S+ used / \S+ limit)")


class StudyScheduler(FIFOScheduler):  # type: ignore[misc]
    """A Tune `TrialScheduler`; trials start in the order of their suggestion."""

    def __init__(self, searcher: StudySearcher, watch: ProgressWatch) -> None:
        super().__init__()
        self._searcher = searcher
        self._watch = watch
        self._trials: dict[str, Any] = {}
        self._given_up: dict[str, str] = {}

    def on_trial_add(self, _tune_controller: Any, trial: Any) -> None:
        """Tune has got a suggestion and will find a process for it."""
        self._trials[trial.trial_id] = trial

    def on_trial_result(self, _tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """CONTINUE or STOP; the report and what follows from it are in the journal when this returns.

        result: {"report": Report or Failure, "slot": the worker's number}; Tune's own entries beside them are not
        looked at.
        """
        assignment = self._searcher.assignments[trial.trial_id]
        self._searcher.slots[trial.trial_id] = result.get("slot", self._searcher.slots[trial.trial_id])
        record = self._searcher.record
        self._watch.reported(trial.trial_id)
        with record.first_error():
            goes_on = record.report(assignment, result["report"])
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP  # type: ignore[no-any-return]

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """The attempt's worker is gone; says why in the record, which the searcher alone could not know."""
        record = self._searcher.record
        # A process that dies while it changes trials dies of the trial before: the next one has not begun.
        begun = trial not in getattr(tune_controller, "_resetting_trials", ())
        cause = self._given_up.pop(trial.trial_id, None) or _cause(trial.error_file)
        self._forget(trial)
        with record.first_error():
            record.lose(self._searcher.assignments[trial.trial_id], cause, begun=begun)

    def on_trial_complete(self, _tune_controller: Any, trial: Any, _result: dict[str, Any]) -> None:
        """Tune is done with a trial that ran."""
        self._forget(trial)

    def on_trial_remove(self, _tune_controller: Any, trial: Any) -> None:
        """Tune is done with a trial that did not run."""
        self._forget(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Tune asks several times a second, whatever happens: the place to look for attempts that hang."""
        controller = tune_controller._tune_controller
        if controller._iteration > 0:
            # At its end Tune would write the state of all attempts, milliseconds each, to where nobody reads it. That
            # there is such a file it does look at: the one that it wrote in its first iteration.
            controller.checkpoint = _keep_no_state
            forget_attempts(controller)
        if self._searcher.record.packing.in_order:
            waiting = (trial for trial in self._trials.values() if trial.status == Trial.PENDING)
            self._searcher.one_waits = any(_actor_of(controller, trial) is None for trial in waiting)
        if self._watch.look():
            self._end_silent_attempts(controller)
        # As Tune's own, but only among those that are not over (it is asked after each report), and that no process is
        # being started for: Tune would hand such a trial to a process that has just become free and drop the one that
        # starts, so that a machine which joins gets no work while the others finish trials faster than it starts.
        waiting = (trial for trial in self._trials.values() if trial.status == Trial.PENDING)
        return next((trial for trial in waiting if trial not in controller._trial_to_actor), None)

    def _end_silent_attempts(self, controller: Any) -> None:
        """Kill the process of each attempt that made no progress for too long; Tune then finds it lost."""
        for trial_id, trial in list(self._trials.items()):
            actor = _actor_of(controller, trial)
            if actor is None:
                continue
            self._watch.runs(trial_id, actor._actor_id.hex())
            number = self._searcher.assignments[trial_id].number
            self._searcher.record.spending.runs(number)
            limit_s = self._watch.silent_too_long_s(trial_id)
            if limit_s is not None:
                self._given_up[trial_id] = f"no progress for {limit_s:.0f} s, so its process was ended"
                _log.warning("trial %d made no progress for %.0f s: ending its process", number, limit_s)
                ray.kill(actor)

    def _forget(self, trial: Any) -> None:
        self._trials.pop(trial.trial_id, None)
        self._watch.ended(trial.trial_id)

    def __getstate__(self) -> dict[str, Any]:
        return {"study": self._searcher.record.spec.name}


def _keep_no_state(**_options: bool) -> None:
    """In the place of `TuneController.checkpoint`."""


def _actor_of(controller: Any, trial: Any) -> Any:
    """The actor that Tune gave to a trial, started or not; None while it waits for resources.

    Tune's trial knows its actor only once that has started, and a start can hang too.
    """
    tracked = controller._trial_to_actor.get(trial)
    actor_and_resources = controller._actor_manager._live_actors_to_ray_actors_resources.get(tracked)
    return actor_and_resources[0] if actor_and_resources else None


def _cause(error_file: str | None) -> str:
    """One line out of the file in which Tune notes the error of an attempt: the last one, where Python names it."""
    try:
        text = Path(error_file or "").read_text(encoding="utf-8")
    except OSError:
        text = ""
    if found := _OUT_OF_MEMORY.search(text):
        return f"Ray's memory monitor ended its process, for its machine ran low on memory ({found[1]})"
    lines = [line.strip() for line in text.splitlines()]
    return next((line[:200] for line in reversed(lines) if line), "its process ended")
