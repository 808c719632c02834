"""The trials that a search still creates: how many, and with which parameters; these are ready before a worker asks."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from typing import Any

from tuner import failpoints
from tuner.search.trials import Question, Trials
from tuner.study import TRIALS_WANTED, TrialRecord

KNEW = "knew"  # attribute of a trial: the entries of the journal that its parameters follow from, if not all before it


class NewTrials:
    """wanted: trials of the search in all; `created` of them there are. number: of the trial that is created next.

    executor: runs one thing at a time, and makes each suggestion ahead: what a worker that becomes free is given does
    not know the score with which it did. Without one, suggestions are made when they are asked for.
    """

    def __init__(self, trials: Trials, executor: Executor | None = None) -> None:
        self.wanted: int = trials.attributes.get(TRIALS_WANTED, trials.spec.trials)
        self.created = 0
        self.number = 0
        self._trials = trials
        self._executor = None if trials.spec.sampler == "random" else executor  # random values are not worth a thread
        self._next: tuple[Question, Future[dict[str, Any]]] | None = None

    @property
    def left(self) -> bool:
        """Whether any is to be created."""
        return self.created < self.wanted

    def want(self, trials: int) -> None:
        """Change the total number wanted."""
        if trials != self.wanted:
            with failpoints.durable("trials-wanted-written"):
                self._trials.study.set_user_attr(TRIALS_WANTED, trials)
            self.wanted = trials

    def known(self, trial: TrialRecord) -> None:
        """A trial that there is, the one after those that were told before."""
        self.number += 1
        self.created += trial.is_wanted

    def others(self, count: int) -> range:
        """The numbers of so many trials that were just created beside those wanted: they continue or confirm others."""
        first = self.number
        self.number += count
        return range(first, self.number)

    def suggestion(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Parameters of the next trial, and the attributes that say what they were made from."""
        if self._executor is None:
            return self._trials.question(self.number, self.created).answer(), {}
        if self._next is None or self._next[0].number != self.number:
            self.prepare()
        assert self._next is not None, "it was just prepared"
        question, answer = self._next
        params = answer.result()
        return params, {} if question.entries == self._trials.entries else {KNEW: question.entries}

    def launched(self) -> None:
        """The trial `number` is in the journal."""
        self.number += 1
        self.created += 1
        self.prepare()

    def reported(self, epoch: int) -> None:
        """A trial that goes on has reported."""
        *rungs, last = self._trials.levels
        # Of trials that run, TPE learns nothing, and the Gaussian process from their scores at rungs. Where there are
        # none it has the epoch before the last, so that with one worker it knows something of each trial.
        if self._trials.spec.sampler == "mfgp" and epoch in (rungs or [last - 1]):
            self.prepare()

    def prepare(self) -> None:
        """Have the next suggestion made from all that is known now."""
        if self._executor is None or not self.left:
            return
        if self._next is not None:
            self._next[1].cancel()
        question = self._trials.question(self.number, self.created)
        self._next = question, self._executor.submit(question.answer)
