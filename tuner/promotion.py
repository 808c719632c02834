"""ASHA by promotion (Li et al. 2018, algorithm 2 as written): who waits at a rung, and who goes on next.

Each trial pauses at its rung, with a checkpoint. A free worker takes the best trial that waits at the highest rung at
which one belongs to the best 1/eta; only if there is none does it begin a new trial.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tuner import asha
from tuner.judging import ranked
from tuner.spec import Standing, StudySpec

if TYPE_CHECKING:
    from tuner.study import TrialRecord


class Promotions:
    """The scores at the rungs by trial, and who waits where: a fold over the journal, told of each change in it."""

    def __init__(self, spec: StudySpec) -> None:
        self._spec = spec
        self._standings: dict[int, dict[int, Standing]] = {}
        self._ranked: dict[int, list[int]] = {}
        self._waiting: dict[int, int] = {}
        self._any_complete = False

    @property
    def waiting(self) -> dict[int, int]:
        """The rungs at which trials wait, by trial."""
        return dict(self._waiting)

    def known(self, trial: TrialRecord) -> None:
        """All of a trial that is in the journal."""
        scores = dict(trial.values)
        for rung in trial.rungs(self._spec):
            if rung in scores:
                self.arrived(trial.number, rung, self._spec.standing(scores[rung], trial.costs))
        if trial.state == "paused":
            self.paused(trial.number, trial.values[-1][0])
        elif trial.state == "complete" and trial.confirms is None:
            self.completed()

    def arrived(self, number: int, rung: int, standing: Standing) -> None:
        """The trial has this standing (`StudySpec.standing`) at the rung."""
        self._standings.setdefault(rung, {})[number] = standing
        self._ranked.pop(rung, None)

    def paused(self, number: int, rung: int) -> None:
        """The trial waits at the rung, where it has arrived."""
        self._waiting[number] = rung

    def over(self, number: int) -> None:
        """The trial does not wait any more: it goes on, or has ended."""
        del self._waiting[number]

    def completed(self) -> None:
        """A trial has been trained to its end."""
        self._any_complete = True

    def promotable(self) -> int | None:
        """`get_job` of algorithm 2: the trial to go on; None if the best 1/eta of each rung already went on."""
        for rung in sorted(set(self._waiting.values()), reverse=True):
            best = self._order(rung)[: self._promoted(rung)]
            number = next((number for number in best if self._waiting.get(number) == rung), None)
            if number is not None:
                return number
        return None

    def last_resort(self) -> int | None:
        """Who goes on if nobody is promotable, nothing runs, nothing is left to begin and no trial is complete.

        It is the best of those that wait at the highest rung. Too few trials may have come to a rung for any to belong
        to its best 1/eta, and a search would end without a model.
        """
        if self._any_complete or not self._waiting:
            return None
        rung = max(self._waiting.values())
        return next(number for number in self._order(rung) if self._waiting.get(number) == rung)

    def in_line(self, queued: Iterable[int], new: int | None, *, idle: bool) -> list[int]:
        """What could be launched, first things first: trials in flight, who is promoted, and only if nobody is a new
        trial. No new one takes the place of a promoted one that is not paid for: replay would differ.

        new: the number that a new trial would have; None if none is left to begin. idle: nothing runs.
        """
        candidates = list(queued)
        after = self.promotable()
        if after is None:
            after = new
        if after is None and idle and not candidates:
            after = self.last_resort()
        return candidates if after is None else [*candidates, after]

    def reason(self, number: int) -> dict[str, Any]:
        """Why a trial that waits would end now, as the journal keeps it: its rank among all that came to its rung, of
        equal scores the lower number first, and the lowest score that is promoted, None if too few have come for any
        or there are several objectives.
        """
        rung = self._waiting[number]
        order, promoted = self._order(rung), self._promoted(rung)
        cutoff = self._standings[rung][order[promoted - 1]] if promoted and not self._spec.costs else None
        rank = order.index(number) + 1
        return {"kind": "asha", "rung": rung, "rank": rank, "peers": len(order) - 1, "cutoff": cutoff}

    def _promoted(self, rung: int) -> int:
        return asha.promoted(len(self._standings[rung]), self._spec.reduction_factor)

    def _order(self, rung: int) -> list[int]:
        if rung not in self._ranked:
            self._ranked[rung] = ranked(self._spec, self._standings[rung])
        return self._ranked[rung]
