"""What a study has spent of its budget, and what trials are expected to need: told of trials, one after the other."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tuner.budget import Budget, parse_budget
from tuner.errors import UsageError
from tuner.promotion import Promotions
from tuner.spec import StudySpec
from tuner.usage import Share

if TYPE_CHECKING:
    from tuner.study import Study, TrialRecord

_RECENT = 101  # trials whose seconds per epoch are looked at, the newest; machines may have changed before
# What is launched has to be paid for with some room to spare, or the smallest error of the forecast would end it just
# before its rung.
MARGIN = 1.1
_ENOUGH_TRIALS = 3  # finished ones, before their average says what one costs


class Ledger:
    """Hours are of the budget's unit. Only what the journal holds counts: running attempts up to their last report."""

    def __init__(self, spec: StudySpec, trials: Iterable[TrialRecord] = ()) -> None:
        self.budget: Budget = parse_budget(spec.budget)
        self._spec = spec
        self.trials: dict[int, TrialRecord] = {}
        self._known_h: dict[int, float] = {}
        self._known_sum_h = 0.0
        self._unseen: dict[int, float] = {}
        self._epoch_s: dict[int, float] = {}
        self._median_s: float | None = None
        self._slowest_s = 0.0
        self._finished = 0
        for trial in trials:
            self.change(trial)

    def change(self, trial: TrialRecord) -> None:
        """Take in a trial's newest record."""
        number, usage = trial.number, trial.usage
        before = self.trials.get(number)
        self._finished += trial.is_finished - (before is not None and before.is_finished)
        self.trials[number] = trial
        known_h = sum(self._share(attempt.share) * attempt.seconds for attempt in usage.attempts) / 3600
        self._known_sum_h += known_h - self._known_h.get(number, 0.0)
        self._known_h[number] = known_h
        ends_unseen = usage.attempts[:-1] if trial.state == "running" else usage.attempts
        self._unseen.pop(number, None)
        if unseen := sum(self._share(attempt.share) for attempt in ends_unseen if not attempt.over):
            self._unseen[number] = unseen
        if usage.epoch_s is not None:
            self._epoch_s.pop(number, None)
            self._epoch_s[number] = usage.epoch_s
            recent = list(itertools.islice(reversed(self._epoch_s.values()), _RECENT))
            self._median_s, self._slowest_s = statistics.median(recent), max(recent)

    @property
    def spent_h(self) -> float:
        """Recorded, and an epoch for each attempt whose end nobody saw, since its driver died."""
        unseen = sum(share * self.epoch_s(number) for number, share in self._unseen.items())
        return max(0.0, self._known_sum_h) + unseen / 3600

    @property
    def left_h(self) -> float:
        """Below 0 if more was spent than the budget."""
        return self.budget.hours - self.spent_h

    def epoch_s(self, number: int) -> float:
        """Seconds that an epoch of this trial takes, as it did before, else as of the others; 0: nobody knows yet."""
        return self._epoch_s.get(number, self._median_s or 0.0)

    def epochs_ahead(self, number: int, at: int | None, max_epochs: int) -> int:
        """Epochs that a trial trains to its next rung or its end, at least one. at: where it goes on, None: from its
        checkpoint; max_epochs: of trials that are not there yet.
        """
        trial = self.trials.get(number)
        if trial is None:
            return next(iter(self._spec.rungs(max_epochs)), max_epochs)
        last = trial.values[-1][0] if trial.values else 0
        if at is None:
            at = int((trial.checkpoint or {}).get("epoch", 0))
        ends = (*trial.rungs(self._spec), trial.max_epochs or self._spec.max_epochs)
        return max(1, next((rung for rung in ends if rung > last), ends[-1]) - at)

    def need_h(self, number: int, share: Share, at: int | None, max_epochs: int) -> float:
        """Hours that trial `number`, known or not, is expected to need up to its next rung."""
        return self.as_hours(self.epochs_ahead(number, at, max_epochs) * self.epoch_s(number), share)

    def is_plentiful(self, trials: int, share: Share, max_epochs: int) -> bool:
        """Whether so many trials, each as slow as the slowest of late, could train `max_epochs` twice over: then nobody
        has to look at what each of them needs.
        """
        need_s = 2 * trials * max_epochs * self._slowest_s * self._share(share)
        return self._slowest_s > 0 and self.left_h * 3600 > need_s

    @property
    def trials_paid(self) -> int | None:
        """How many more trials what is left pays for, by what one took so far; None before there are enough of them.

        None too with ASHA by promotion, where those that wait at a rung have spent as well, and may go on.
        """
        if self._spec.asha == "promote" or self._finished < _ENOUGH_TRIALS or self.spent_h <= 0:
            return None
        return int(max(0.0, self.left_h) / (self.spent_h / self._finished) + 1e-6)

    def pays(self, number: int, share: Share, max_epochs: int, left_h: float) -> bool:
        """Whether trial `number`, known or not, gets to its next rung by `left_h`, the hours that are promised to no
        other. Before any epoch was measured: whether anything is left.
        """
        return left_h > 0 and self.need_h(number, share, None, max_epochs) * MARGIN <= left_h

    @property
    def used_up(self) -> str:
        """Why a search ends whose budget pays for nothing more."""
        spent = self.budget.of(self.spent_h)
        rest = ", and the rest pays for no rung" if self.left_h > 0 else ""
        return f"the budget of {self.budget.words} is used up: {spent} spent{rest}"

    def used_since_s(self, number: int, used_s: float) -> float:
        """Seconds of a running attempt since the last that the ledger knows of. used_s: in all."""
        return used_s - self.trials[number].usage.attempts[-1].seconds

    def as_hours(self, seconds: float, share: Share) -> float:
        """Of the budget's unit."""
        return seconds * self._share(share) / 3600

    @property
    def larger(self) -> str:
        """A budget to go on with, as `--budget` takes it."""
        return self.budget.larger(self.spent_h)

    def is_enough_for(self, trials: int) -> bool:
        """Whether what is left is expected to pay for so many more trials; before anybody can know, it is."""
        return self.trials_paid is None or self.trials_paid >= trials

    def status(self) -> dict[str, Any]:
        """What `tuner status --json` prints."""
        budget = self.budget
        return {
            "amount": budget.amount,
            "spent": round(self.spent_h * budget.price, 6),
            "unit": budget.currency or budget.unit,
            "price": {"amount": budget.price, "per": budget.unit} if budget.currency else None,
            "trials_paid": self.trials_paid,
        }

    def _share(self, share: Share) -> float:
        return share.gpus if self.budget.unit == "gpuh" else float(share.cpus)


def is_used_up(study: Study) -> bool:
    """Whether a study that nobody runs has something left to train, and its budget pays for nothing of it."""
    ledger = study.ledger
    shares = [attempt.share for trial in study.trials for attempt in trial.usage.attempts[-1:]]
    if ledger is None or not shares or study.state != "stopped":
        return False
    numbers, left_h = _candidates(study), ledger.left_h
    return bool(numbers) and not any(ledger.pays(number, shares[-1], study.max_epochs, left_h) for number in numbers)


def _candidates(study: Study) -> list[int]:
    """What the next driver of a study could launch first; the number after the last trial's is a new trial."""
    promotions = Promotions(study.spec)
    for trial in study.trials:
        promotions.known(trial)
    waiting = (trial for trial in study.trials if trial.state != "paused" and trial.confirms is None)
    queued = [trial.number for trial in waiting if not trial.is_finished]
    begun = sum(trial.is_wanted for trial in study.trials)
    return promotions.in_line(queued, len(study.trials) if begun < study.trials_wanted else None, idle=True)


def budget_of_resume(study: Study, given: str | None) -> str:
    """The budget of a study that is resumed: the one `given` anew, a total, or the one that it has.

    Raises UsageError if it is used up.
    """
    earlier = parse_budget(study.budget) if study.budget else None
    budget = study.budget if given is None else str(parse_budget(given, earlier))
    resumed = replace(study, budget=budget)
    ledger = resumed.ledger
    # Without one given, a study with nothing left to train may go on: to end those that wait at a rung costs nothing.
    too_little = given is not None and ledger is not None and ledger.left_h <= 0
    if ledger is not None and (too_little or is_used_up(resumed)):
        raise UsageError(
            f"{ledger.used_up}; give a larger total: `tuner resume {study.spec.name} --budget {ledger.larger}`"
        )
    return budget
