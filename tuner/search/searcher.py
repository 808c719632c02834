"""What to try, for Ray Tune: hands out the record's assignments. Holds no state of its own that a crash could lose."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from ray.tune.search import Searcher

from tuner.exchange import Assignment
from tuner.search.record import StudyRecord


class StudySearcher(Searcher):  # type: ignore[misc]
    """A Tune `Searcher` whose suggestion is {number, attempt, params, start_epoch, checkpoint}.

    `assignments` maps Tune's trial ids, of which each is one attempt, to what was handed out; the scheduler shares it.
    `slots` maps them to the number of the worker: the lowest free one, until the worker that took the attempt says its
    own. It only names workers for people. `capacity` is asked for the number of attempts at once before each, those
    that share a slot counting by their parts; without it whoever drives the searcher knows when to ask for one.
    `one_waits`: an attempt waits for its part of a GPU, said by the scheduler.
    """

    def __init__(self, record: StudyRecord, capacity: Callable[[], int] | None = None) -> None:
        super().__init__()
        self.record = record
        self._capacity = capacity
        self.assignments: dict[str, Assignment] = {}
        self.slots: dict[str, int] = {}
        self.one_waits = False

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next attempt; None while there is none; FINISHED once nothing runs, waits or is left to try.

        FINISHED is final for Tune, and None with nothing running blocks its loop: hence `exhausted` and not "no trial".
        """
        with self.record.first_error():
            if self._is_full():
                return None
            assignment = self.record.next_assignment()
        if assignment is None:
            return Searcher.FINISHED if self.record.exhausted else None
        taken = set(self.slots.values())
        self.slots[trial_id] = next(slot for slot in itertools.count() if slot not in taken)
        self.assignments[trial_id] = assignment
        return asdict(replace(assignment, slot=self.slots[trial_id]))

    def _is_full(self) -> bool:
        taken = sum(assignment.part for assignment in self.assignments.values())
        full = self._capacity is not None and taken >= self._capacity()
        return full or self.one_waits

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: the scheduler sees every result before this is called, and records it."""

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,  # noqa: ARG002 - Tune passes it by name
        error: bool = False,
    ) -> None:
        """Tune is done with the attempt: lost with its worker, stopped from outside, or ended by a decision."""
        assignment = self.assignments.pop(trial_id)
        del self.slots[trial_id]
        with self.record.first_error():
            if error:
                self.record.lose(assignment, "its process ended")
            else:
                self.record.release(assignment)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the only state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the only state."""

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its searcher; connections and journals stay in this process.
        return {"study": self.record.spec.name}
