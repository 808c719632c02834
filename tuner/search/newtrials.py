"""The trials that a search still creates: how many, and with which parameters; these are ready before a worker asks."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from typing import Any

from tuner import failpoints
from tuner.search.occasions import entries_at_newest, passing_matters
from tuner.search.trials import Question, Trials, question_at
from tuner.store.journal import Journal
from tuner.study import TRIALS_WANTED, TrialRecord

KNEW = "knew"  # attribute of a trial: the entries of the journal that its parameters follow from, if not all before it


class NewTrials:
    """wanted: trials of the search in all; `created` of them there are. number: of the trial that is created next.

    executor: runs one thing at a time, and makes each suggestion ahead, at the newest of the occasions that
    `tuner.search.occasions` names: it does not know the score with which a worker then becomes free. Without one,
    suggestions are made when they are asked for.
    """

    def __init__(self, trials: Trials, journal: Journal, executor: Executor | None = None) -> None:
        self.wanted: int = trials.attributes.get(TRIALS_WANTED, trials.spec.trials)
        self.created = 0
        self.number = 0
        self._trials = trials
        self._journal = journal
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
            return self._trials.question(self.created).answer(), {}
        if self._next is None:
            self.begin()
        assert self._next is not None, "asked for only while trials are left"
        question, answer = self._next
        params = answer.result()
        return params, {} if question.entries == self._journal.length() else {KNEW: question.entries}

    def launched(self) -> None:
        """The trial `number` is in the journal."""
        self.number += 1
        self.created += 1
        self.prepare()

    def passed(self, epoch: int) -> None:
        """A trial has reported this epoch for the first time, and goes on."""
        if self._executor is not None and passing_matters(self._trials, epoch):
            self.prepare()

    def begin(self) -> None:
        """Have the next suggestion made as a search that was not rebuilt would have: by the newest occasion."""
        if self._executor is None or not self.left:
            return
        entries = entries_at_newest(self._trials, self._journal)
        if 0 < entries < self._journal.length():
            self._have_answered(question_at(self._trials.spec, self._journal.first(entries), self.created))
        else:
            self.prepare()

    def prepare(self) -> None:
        """Have the next suggestion made from all that is known now; to be called at each occasion."""
        if self._executor is not None:
            self._have_answered(self._trials.question(self.created) if self.left else None)

    def _have_answered(self, question: Question | None) -> None:
        if self._next is not None:
            self._next[1].cancel()
        assert self._executor is not None, "nothing is made ahead without"
        self._next = None if question is None else (question, self._executor.submit(question.answer))
