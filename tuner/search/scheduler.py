"""Who goes on, for Ray Tune: passes each result to the record, which decides by ASHA and commits first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tuner.search.searcher import StudySearcher


class StudyScheduler(FIFOScheduler):  # type: ignore[misc]
    """A Tune `TrialScheduler`; trials start in the order of their suggestion."""

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def on_trial_result(self, _tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """CONTINUE or STOP; the report and what follows from it are in the journal when this returns.

        result: {"report": Report or Failure}; Tune's own entries beside it are not looked at.
        """
        assignment = self._searcher.assignments[trial.trial_id]
        record = self._searcher.record
        with record.first_error():
            goes_on = record.report(assignment, result["report"])
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP  # type: ignore[no-any-return]

    def on_trial_error(self, _tune_controller: Any, trial: Any) -> None:
        """The attempt's worker is gone; says why in the record, which the searcher alone could not know."""
        record = self._searcher.record
        with record.first_error():
            record.lose(self._searcher.assignments[trial.trial_id], _cause(trial.error_file))

    def __getstate__(self) -> dict[str, Any]:
        return {"study": self._searcher.record.spec.name}


def _cause(error_file: str | None) -> str:
    """One line out of the file in which Tune notes the error of an attempt: the last one, where Python names it."""
    try:
        lines = [line.strip() for line in Path(error_file or "").read_text(encoding="utf-8").splitlines()]
    except OSError:
        lines = []
    return next((line[:200] for line in reversed(lines) if line), "its process ended")
