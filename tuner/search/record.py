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
from contextlib import contextmanager
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tuner import failpoints
from tuner.errors import TunerError
from tuner.exchange import Assignment, Failure, Report
from tuner.search.brake import Brake
from tuner.search.continuation import chosen_to_continue
from tuner.search.epochs import record_epoch
from tuner.search.trials import Trials
from tuner.spec import StudySpec
from tuner.store.journal import Journal
from tuner.study import LIFE, MAX_EPOCHS, TRIALS_WANTED, TrialRecord, fold_trial, refuse_fewer_epochs

MAX_LOSSES = 3  # attempts that may be lost with their worker before the trial itself is taken to be the cause


class StudyRecord:
    """The trials of one study, folded from its journal and continued by this driver.

    on_change is called with the trial's record after each commit; `stop` asks that nothing more be launched.
    """

    def __init__(self, spec: StudySpec, journal: Journal, on_change: Callable[[TrialRecord], None] | None = None):
        self.spec = spec
        self.rungs: dict[int, list[float]] = {}
        self.live: dict[int, Assignment] = {}
        self.brake = Brake()
        self.error: TunerError | None = None
        self._journal = journal
        self._on_change = on_change
        self._stopping = threading.Event()
        self._trials = Trials(spec, journal)
        self._fold()

    def _fold(self) -> None:
        """Rebuild rungs, counts and what was in flight from the journal."""
        self.trials_wanted: int = self._trials.attributes.get(TRIALS_WANTED, self.spec.trials)
        self.max_epochs: int = self._trials.attributes.get(MAX_EPOCHS, self.spec.max_epochs)
        self.rungs = {level: [] for level in self.spec.rungs(self.max_epochs)}
        self._queue: deque[int] = deque()
        self._next_number = 0
        self._created = 0  # of those wanted: without the ones that continue others
        self.brake.any_epoch = False
        for trial in map(self._record_of, self._trials.all()):
            self._next_number += 1
            self._created += trial.continues is None
            scores = dict(trial.values)
            for level in trial.rungs(self.spec):
                if level in scores:
                    self.rungs[level].append(scores[level])
            if not trial.is_finished:
                self._queue.append(trial.number)
            self.brake.any_epoch |= bool(scores)
        self.life: int = self._trials.attributes.get(LIFE, 0) + 1
        with failpoints.durable("life-written"):
            self._trials.study.set_user_attr(LIFE, self.life)

    def records(self) -> list[TrialRecord]:
        """All trials, by number. Trials that wait for a worker again are still `running` to Optuna, here queued."""
        return [self._record_of(trial) for trial in self._trials.all()]

    def _record_of(self, trial: FrozenTrial) -> TrialRecord:
        return fold_trial(self.spec, trial, life=self.life if trial.number in self.live else None)

    def want_trials(self, trials: int) -> None:
        """Change the total number of trials wanted."""
        if trials != self.trials_wanted:
            with failpoints.durable("trials-wanted-written"):
                self._trials.study.set_user_attr(TRIALS_WANTED, trials)
            self.trials_wanted = trials

    def remember(self, key: str, value: Any) -> None:
        """Keep something JSON-able about this life of the study that decides nothing."""
        self._trials.study.set_user_attr(f"{key}:{self.life}", value)

    def train_longer(self, max_epochs: int) -> None:
        """Raise the epochs of a complete trial, and queue the best complete ones to be continued as new trials.

        Trials that are in flight keep the maximum that they began with. Raises UsageError for a lower maximum.
        """
        refuse_fewer_epochs(max_epochs, self.max_epochs)
        if max_epochs == self.max_epochs:
            return
        chosen = chosen_to_continue(self.spec, self._trials.all())
        with failpoints.durable("epochs-added"), self._journal.transition():
            self._trials.study.set_user_attr(MAX_EPOCHS, max_epochs)
            for origin in chosen:
                self._trials.add(
                    origin.params,
                    attempt=0,
                    life=0,
                    max_epochs=max_epochs,
                    continues=origin.number,
                    continued_from=origin.user_attrs["checkpoint"]["epoch"],
                    checkpoint=origin.user_attrs["checkpoint"],
                )
        for level in self.spec.rungs(max_epochs):
            self.rungs.setdefault(level, [])
        self._queue.extend(range(self._next_number, self._next_number + len(chosen)))
        self._next_number += len(chosen)
        self.max_epochs = max_epochs

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
        return not self.live and (self.stopping or not self._left)

    @property
    def _left(self) -> bool:
        """Whether trials are left to launch."""
        return bool(self._queue) or self._created < self.trials_wanted

    def next_assignment(self) -> Assignment | None:
        """The next attempt to launch: trials in flight first, then new ones; None if there is nothing now."""
        if self.brake.holds(anything_runs=bool(self.live), anything_left=self._left, stopping=self.stopping):
            if self.brake.ended_the_search:
                self.stop()
            return None
        if self.stopping:
            return None
        if self._queue:
            assignment = self._continue(self._queue[0])
            self._queue.popleft()
        elif self._created < self.trials_wanted:
            assignment = self._create(self._next_number)
            self._next_number += 1
            self._created += 1
        else:
            return None
        self.live[assignment.number] = assignment
        self.brake.launched(assignment.number)
        self._changed(assignment.number)
        return assignment

    def _create(self, number: int) -> Assignment:
        params = self._trials.suggested(number, self._created)
        # Absent, it is the spec's: `train_longer` changes it for the trials that come after.
        longer = {} if self.max_epochs == self.spec.max_epochs else {"max_epochs": self.max_epochs}
        given = {"enqueued": True} if self._created < len(self.spec.enqueued) else {}
        with failpoints.durable("trial-created"), self._journal.transition():
            self._trials.add(params, attempt=1, life=self.life, **longer, **given)
        return Assignment(number, attempt=1, params=params, max_epochs=self.max_epochs)

    def _continue(self, number: int) -> Assignment:
        trial = self._trials[number]
        attempt = trial.user_attrs.get("attempt", 0) + 1
        checkpoint = trial.user_attrs.get("checkpoint")
        with failpoints.durable("trial-relaunched"), self._journal.transition():
            self._trials.set(number, "attempt", attempt)
            self._trials.set(number, "life", self.life)
        return Assignment(
            number,
            attempt,
            dict(trial.params),
            start_epoch=checkpoint["epoch"] if checkpoint else 0,
            checkpoint=checkpoint,
            previous=trial.user_attrs.get("previous_checkpoint"),
            max_epochs=trial.user_attrs.get("max_epochs", self.spec.max_epochs),
            continued_from=trial.user_attrs.get("continued_from", 0),
        )

    # What became of it

    def report(self, assignment: Assignment, report: Report | Failure) -> bool:
        """Record one epoch or failure; True if the trial goes on. Late words of a superseded attempt are ignored."""
        number = assignment.number
        if self.live.get(number) != assignment:
            return False
        if isinstance(report, Report) and not math.isfinite(report.score):
            report = Failure("diverged", f"score {report.score} at epoch {report.epoch}")
        if isinstance(report, Failure):
            self._fail(number, report)
            return False
        self.brake.reported(report)
        if report.save_error and (report.waited or report.epoch >= assignment.max_epochs):
            # It is complete once its weights are kept: until then it stays in flight, and this epoch unreported.
            self.release(assignment)
            return False
        finished = record_epoch(self._trials, self._journal, self.rungs, assignment, report)
        self.brake.any_epoch = True
        failpoints.reach("after-report-folded")
        if finished:
            del self.live[number]
        self._changed(number)
        return not finished and not self.stopping

    def lose(self, assignment: Assignment, detail: str, *, begun: bool = True) -> None:
        """The worker of an attempt is gone: launch the trial again, or fail it after `MAX_LOSSES` such losses.

        begun: False if the process went while it was still changing from another trial to this one; such a loss is not
        counted against the trial.
        """
        number = assignment.number
        if self.live.get(number) != assignment:
            return
        losses = self._trials[number].user_attrs.get("losses", 0) + begun
        if begun:
            self.brake.lost(number, detail)
            if losses >= MAX_LOSSES:
                self._fail(number, Failure("lost", f"{losses} workers were lost with it, the last one: {detail}"))
                return
        with failpoints.durable("loss-committed"), self._journal.transition():
            self._trials.set(number, "losses", losses)
            self._trials.set(number, "life", 0)
        del self.live[number]
        self._queue.append(number)
        self._changed(number)

    def release(self, assignment: Assignment) -> None:
        """The attempt was stopped from outside before the trial ended; it stays in flight for a later life."""
        number = assignment.number
        if self.live.get(number) == assignment:
            del self.live[number]
            self._queue.append(number)
            self._changed(number)

    def _fail(self, number: int, failure: Failure) -> None:
        with failpoints.durable("failure-committed"), self._journal.transition():
            self._trials.set(number, "reason", failure.as_reason())
            self._trials.end(number, TrialState.FAIL, None)
        del self.live[number]
        self.brake.failed(failure)
        self._changed(number)

    def _changed(self, number: int) -> None:
        if self._on_change is not None:
            self._on_change(self._record_of(self._trials[number]))
