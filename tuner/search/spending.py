"""What the attempts of this driver occupy, and what the budget still pays for.

It decides only who is launched and who goes on training, never by which scores trials are compared: a trial that is not
paid for any more waits, in flight, for a larger budget.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any

from tuner.exchange import Assignment, Report
from tuner.ledger import MARGIN, Ledger
from tuner.spec import StudySpec
from tuner.study import TrialRecord
from tuner.usage import Share, so_far


class Spending:
    """The clocks of the attempts that run, and with `spec.budget` the ledger.

    share: what each attempt of this driver reserves, those that share a GPU a part of it.
    """

    def __init__(
        self, spec: StudySpec, share: Share | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.share = share or Share.of(spec.resources)
        self.ledger = Ledger(spec) if spec.budget else None
        self._spec = spec
        self._clock = clock
        self._since_s: dict[int, float] = {}
        self._has_process: set[int] = set()
        self._at: dict[int, int] = {}
        self._parts: dict[int, float] = {}
        self._newest_part = 1.0

    def known(self, trial: TrialRecord) -> None:
        """A trial's newest record, as the journal has it."""
        if self.ledger is not None:
            self.ledger.change(trial)

    def launched(self, assignment: Assignment) -> None:
        """The attempt was handed out."""
        self._since_s[assignment.number] = self._clock()
        self._has_process.discard(assignment.number)
        self._at[assignment.number] = assignment.start_epoch
        self._parts[assignment.number] = self._newest_part = assignment.part

    def runs(self, number: int) -> None:
        """A process is there for the attempt; before, it may have waited for a machine, which costs nothing.

        It is noticed within a fraction of a second, unless the attempt has reported before.
        """
        if number not in self._has_process:
            self._has_process.add(number)
            self._since_s[number] = self._clock()

    def without_process(self, live: Iterable[int]) -> list[int]:
        """Those of the `live` attempts for which no process was there yet."""
        return [number for number in live if number not in self._has_process]

    def used_s(self, number: int) -> float:
        """For how long the attempt has occupied its worker: not at all before its process was there."""
        return round(self._clock() - self._since_s[number], 3) if number in self._has_process else 0.0

    def used(self, number: int, *, over: bool) -> dict[str, Any]:
        """The attribute `attempt:<n>` of an attempt now. over: it ends."""
        return so_far(self._share(number), self.used_s(number), over=over)

    def first_paid(self, candidates: Iterable[int], live: Collection[int], max_epochs: int) -> int | None:
        """The first of the candidates that the budget pays for up to its next rung, once those that are `live` have
        come to theirs.
        """
        ledger = self.ledger
        if ledger is None or ledger.is_plentiful(len(live) + 1, self.share, max_epochs):
            return next(iter(candidates), None)
        left_h = ledger.left_h - sum(map(self._need_h, live))  # once, for there may be thousands of candidates
        return next((one for one in candidates if ledger.pays(one, self._share(one), max_epochs, left_h)), None)

    def carries(self, number: int, report: Report, live: Collection[int]) -> bool:
        """Whether a trial goes on training after this report, which is not in the journal yet, if ASHA lets it.

        Beyond a rung it is like one that is launched. Before it, those that need least to get to theirs go on first,
        so that as many as possible get there; who then is not paid for stops at once, for it would not get there.
        """
        ledger = self.ledger
        self._has_process.add(number)
        self._at[number] = report.epoch
        if ledger is None:
            return True
        trial = ledger.trials[number]
        max_epochs = trial.max_epochs or self._spec.max_epochs
        if report.epoch >= max_epochs:
            return True
        new = not trial.values or report.epoch > trial.values[-1][0]
        values = [*trial.values, (report.epoch, report.score)] if new else trial.values
        usage = trial.usage.reported(self.used_s(number), report.seconds)
        ledger.change(replace(trial, values=values, usage=usage))
        if ledger.is_plentiful(len(live), self.share, max_epochs):
            return True
        needs_h = {other: self._need_h(other) for other in live}
        if report.epoch in trial.rungs(self._spec):
            return sum(needs_h.values()) + (MARGIN - 1) * needs_h[number] <= ledger.left_h
        last = (needs_h[number], number)
        return sum(need_h for other, need_h in needs_h.items() if (need_h, other) <= last) <= ledger.left_h

    def _need_h(self, number: int) -> float:
        """Hours from the last report of a running attempt to its next rung; what has passed since then at least."""
        ledger = self.ledger
        assert ledger is not None, "asked with a budget only"
        share = self._share(number)
        expected_h = ledger.need_h(number, share, self._at[number], self._spec.max_epochs)
        if number not in self._has_process:
            return expected_h
        return max(expected_h, ledger.as_hours(ledger.used_since_s(number, self.used_s(number)), share))

    def _share(self, number: int) -> Share:
        """What trial `number` reserves; one that was not launched yet is taken to be like the newest that was."""
        return self.share.part(self._parts.get(number, self._newest_part))
