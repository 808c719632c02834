"""The written side of a search: what to run next, what became of it, who goes on. Knows neither Ray nor torch.

Every method that changes something commits it to the journal in one append before it changes anything here, so that
this object can be rebuilt from the journal at any moment and then decides the same (architecture: "the journal is the
truth and everything else is a fold over it").
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from optuna.trial import FrozenTrial

from tuner import failpoints
from tuner.confirmed import Confirmation
from tuner.errors import TunerError
from tuner.exchange import Assignment, Failure, Report
from tuner.promotion import Promotions
from tuner.search.brake import Brake
from tuner.search.confirmation import add_runs
from tuner.search.continuation import add_continuations
from tuner.search.ends import end_failed, put_back
from tuner.search.epochs import end_paused, record_epoch
from tuner.search.launching import Launch, create, relaunch
from tuner.search.newtrials import NewTrials
from tuner.search.packing import Packing
from tuner.search.spending import Spending
from tuner.search.trials import Trials
from tuner.spec import Standing, StudySpec
from tuner.store.journal import Journal
from tuner.study import LIFE, MAX_EPOCHS, TrialRecord, fold_trial, refuse_fewer_epochs

MAX_LOSSES = 3  # attempts that may be lost with their worker before the trial itself is taken to be the cause


class StudyRecord:
    """The trials of one study, folded from its journal and continued by this driver.

    on_change: called with the trial's record after each commit. trials: as Optuna keeps them, not to be changed.
    executor: see `NewTrials`.
    """

    def __init__(
        self,
        spec: StudySpec,
        journal: Journal,
        on_change: Callable[[TrialRecord], None] | None = None,
        spending: Spending | None = None,
        packing: Packing | None = None,
        executor: Executor | None = None,
    ):
        self.spec = spec
        self.spending = spending or Spending(spec)
        self.packing = packing or Packing()
        self.rungs: dict[int, list[Standing]] = {}
        self.live: dict[int, Assignment] = {}
        self.brake = Brake()
        self.error: TunerError | None = None
        self._journal = journal
        self._on_change = on_change
        self._stopping = threading.Event()
        self.trials = Trials(spec, journal)
        self.new = NewTrials(self.trials, journal, executor)
        self._fold()

    def _fold(self) -> None:
        """Rebuild rungs, counts and what was in flight from the journal."""
        self.max_epochs: int = self.trials.attributes.get(MAX_EPOCHS, self.spec.max_epochs)
        self.rungs = {level: [] for level in self.spec.rungs(self.max_epochs)}
        self._promotions = Promotions(self.spec)
        self._queue: deque[int] = deque()
        self._confirms = False
        self.brake.any_epoch = False
        for trial in map(self._record_of, self.trials.all()):
            self.new.known(trial)
            self.spending.known(trial)
            self._promotions.known(trial)
            scores = dict(trial.values)
            for level in trial.rungs(self.spec):
                if level in scores:
                    self.rungs[level].append(self.spec.standing(scores[level], trial.costs))
            if not trial.is_finished and trial.state != "paused" and trial.confirms is None:
                self._queue.append(trial.number)
            self.brake.any_epoch |= bool(scores)
        self.packing.known(self.trials.all())
        self.life: int = self.trials.attributes.get(LIFE, 0) + 1
        with failpoints.durable("life-written"):
            self.trials.study.set_user_attr(LIFE, self.life)

    def records(self) -> list[TrialRecord]:
        """All trials, by number. Trials that wait for a worker again are still `running` to Optuna, here queued."""
        return [self._record_of(trial) for trial in self.trials.all()]

    def _record_of(self, trial: FrozenTrial) -> TrialRecord:
        return fold_trial(self.spec, trial, life=self.life if trial.number in self.live else None)

    def remember(self, key: str, value: Any) -> None:
        """Keep something JSON-able about this life of the study that decides nothing."""
        self.trials.study.set_user_attr(f"{key}:{self.life}", value)

    def train_longer(self, max_epochs: int) -> None:
        """Raise the epochs of a complete trial, and queue the best complete ones to be continued as new trials.

        Trials that are in flight keep the maximum that they began with. Raises UsageError for a lower maximum.
        """
        refuse_fewer_epochs(max_epochs, self.max_epochs)
        if max_epochs == self.max_epochs:
            return
        self._queue.extend(self.new.others(add_continuations(self.trials, self._journal, max_epochs)))
        for level in self.spec.rungs(max_epochs):
            self.rungs.setdefault(level, [])
        self.max_epochs = max_epochs
        self.new.prepare()

    def confirm(self, wanted: Confirmation) -> set[int]:
        """From now on launch nothing but the trials that confirm the best ones; those that are missing are created.

        The numbers of all that `wanted` takes, with those that are over.
        """
        runs = add_runs(self.trials, self._journal, self.records(), self.max_epochs, wanted)
        self._confirms = True
        created = self.new.others(len(runs.missing))
        self._queue = deque([*sorted(run.number for run in runs.unfinished), *created])
        return {*(run.number for run in runs.known), *created}

    @contextmanager
    def first_error(self) -> Iterator[None]:
        """Remember an error that passes through, and launch nothing more.

        Tune turns what its searcher and scheduler raise into text; the driver finds the error itself in `error`.
        """
        try:
            yield
        except TunerError as error:
            self.error = self.error or error
            self.stop()
            raise

    # What to run

    def stop(self) -> None:
        """Launch nothing more; what runs is stopped at its next report and stays in flight. Safe from any thread."""
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called or the search gave up."""
        return self._stopping.is_set()

    @property
    def exhausted(self) -> bool:
        """Nothing runs and nothing is left to launch."""
        return not self.live and (self.stopping or not self._left or self.out_of_budget)

    @property
    def out_of_budget(self) -> bool:
        """Nothing runs, something is left to launch, and the budget pays for nothing of it."""
        candidates = [] if self.live or self.stopping else self._candidates()
        return bool(candidates) and self.spending.first_paid(candidates, self.live, self.max_epochs) is None

    @property
    def _left(self) -> bool:
        """Whether trials are left to launch, or wait for what becomes of the others."""
        if self._confirms:
            return bool(self._queue)
        return bool(self._queue or self._promotions.waiting) or self.new.left

    def next_assignment(self) -> Assignment | None:
        """The next attempt to launch: trials in flight first, then those that are promoted from a rung, then new ones;
        None if there is nothing now.
        """
        if self.brake.holds(anything_runs=bool(self.live), anything_left=self._left, stopping=self.stopping):
            if self.brake.ended_the_search:
                self.stop()
            return None
        if self.stopping:
            return None
        candidates = self._candidates()
        number = self.spending.first_paid(candidates, self.live, self.max_epochs)
        if number is None:
            if not (candidates or self.live or self._confirms):
                for number in end_paused(self.trials, self._journal, self._promotions):
                    self._changed(number)
            return None
        launch = Launch(self.life, self.spending.share, self.packing)
        if number == self.new.number:
            assignment = create(self.trials, self._journal, self.new, self.max_epochs, launch)
        else:
            promoted = {"paused": 0} if number in self._promotions.waiting else {}
            assignment = relaunch(self.trials, self._journal, number, launch, **promoted)
            if promoted:
                self._promotions.over(number)
                self.new.prepare()
            else:
                self._queue.remove(number)
        self.live[assignment.number] = assignment
        self.brake.launched(assignment.number)
        self.spending.launched(assignment)
        self._changed(assignment.number)
        return assignment

    def _candidates(self) -> list[int]:
        """What could be launched, first things first; the number after the last trial's is a new trial."""
        if self._confirms:
            return list(self._queue)
        new = self.new.number if self.new.left else None
        return self._promotions.in_line(self._queue, new, idle=not self.live)

    # What became of it

    def report(self, assignment: Assignment, report: Report | Failure) -> bool:
        """Record one epoch or failure; True if the trial goes on. Late words of a superseded attempt are ignored."""
        number = assignment.number
        if self.live.get(number) != assignment:
            return False
        if isinstance(report, Report) and not math.isfinite(report.score):
            report = Failure("diverged", f"score {report.score} at epoch {report.epoch}")
        if isinstance(report, Failure):
            attributes = self.packing.larger(assignment, report)
            self._fail(assignment, report) if attributes is None else self._again(assignment, **attributes)
            return False
        self.brake.reported(report)
        if report.save_error and (report.waited or report.epoch >= assignment.max_epochs):
            # It is complete once its weights are kept: until then it stays in flight, and this epoch unreported.
            self.release(assignment)
            return False
        new = report.epoch not in self.trials[number].intermediate_values
        goes_on = self.spending.carries(number, report, self.live) and not self.stopping
        used = self.spending.used(number, over=not goes_on)
        finished = record_epoch(self.trials, self._journal, self.rungs, self._promotions, assignment, report, used)
        self.brake.any_epoch = True
        failpoints.reach("after-report-folded")
        if finished:
            del self.live[number]
        self._changed(number)
        if new and goes_on and not finished:
            self.new.passed(report.epoch)
        if self.packing.smaller(assignment, report) and goes_on and not finished:
            self._again(assignment)
            return False
        return goes_on and not finished

    def lose(self, assignment: Assignment, detail: str, *, begun: bool = True) -> None:
        """The worker of an attempt is gone: launch the trial again, or fail it after `MAX_LOSSES` such losses.

        begun: False if the process went while it was still changing from another trial to this one; such a loss is not
        counted against the trial.
        """
        number = assignment.number
        if self.live.get(number) != assignment:
            return
        losses = self.trials[number].user_attrs.get("losses", 0) + begun
        if begun:
            self.brake.lost(number, detail)
            if losses >= MAX_LOSSES:
                self._fail(assignment, Failure("lost", f"{losses} workers were lost with it, the last one: {detail}"))
                return
        self._again(assignment, losses=losses)

    def end_unbegun(self) -> None:
        """A driver's last act: attempts for which no process was there yet end, having used nothing. The next driver
        would charge each an epoch, as if nobody had seen its end.
        """
        for number in self.spending.without_process(self.live):
            self._again(self.live[number])

    def release(self, assignment: Assignment) -> None:
        """The attempt was stopped from outside before the trial ended; it stays in flight for a later life."""
        if self.live.get(assignment.number) == assignment:
            self._queue.append(self.live.pop(assignment.number).number)
            self._changed(assignment.number)

    def _again(self, assignment: Assignment, **attributes: Any) -> None:
        """The attempt is over and the trial waits for another one; `attributes` are noted with that."""
        put_back(self.trials, self._journal, assignment, self.spending.used(assignment.number, over=True), attributes)
        self.release(assignment)

    def _fail(self, assignment: Assignment, failure: Failure) -> None:
        end_failed(self.trials, self._journal, assignment, failure, self.spending.used(assignment.number, over=True))
        del self.live[assignment.number]
        self.brake.failed(failure)
        self._changed(assignment.number)

    def _changed(self, number: int) -> None:
        trial = self._record_of(self.trials[number])
        self.spending.known(trial)
        if self._on_change is not None:
            self._on_change(trial)
