"""The next suggestion is made while workers train, and is still one that follows from the journal."""

from __future__ import annotations

import dataclasses
import math
import threading

import pytest

from tests.factories import new_spec
from tests.search.runs import AtOnce, report, run, saved
from tuner.confirmed import Confirmation
from tuner.exchange import Failure
from tuner.search.audit import audit
from tuner.search.newtrials import KNEW
from tuner.search.onethread import OneThread
from tuner.search.record import StudyRecord
from tuner.store.journal import MemoryJournal

MFGP = new_spec(trials=30, sampler="mfgp", grace_period=3)


def ahead(journal=None, spec=MFGP, executor=None):
    return StudyRecord(spec, journal or MemoryJournal(), executor=executor or AtOnce())


def score_of(params, epoch):
    """Best near a learning rate of 0.01, and for wide networks later."""
    return (1 - abs(math.log10(params["lr"] / 0.01)) / 4) * (1 - params["width"] / 200 / epoch)


class Workers:
    """Train an epoch each in turn; `given`: the attempts that were handed out."""

    def __init__(self, record, workers=3):
        self.record = record
        self.given = []
        self._running = [None] * workers

    def step(self):
        """One worker's turn."""
        now = self._running.pop(0)
        assignment, epoch = now or (self.record.next_assignment(), None)
        self._running.append(None)
        if assignment is None:
            return
        if epoch is None:
            self.given.append(assignment)
            epoch = assignment.start_epoch
        epoch += 1
        score = score_of(assignment.params, epoch)
        if self.record.report(assignment, report(epoch, score, **saved(epoch, score))):
            self._running[-1] = (assignment, epoch)


def workers_in_turn(record, workers=3, steps=200):
    """What they were given in so many turns."""
    working = Workers(record, workers)
    for _ in range(steps):
        working.step()
    return working.given


def knew(record):
    return [trial.user_attrs.get(KNEW) for trial in record.trials.all()]


@pytest.mark.parametrize("changes", [{"sampler": "mfgp"}, {"sampler": "tpe"}, {"sampler": "mfgp", "asha": "promote"}])
@pytest.mark.parametrize("workers", [1, 3])
def test_each_suggestion_made_ahead_follows_from_the_entries_that_its_trial_names(changes, workers):
    spec, journal = new_spec(trials=30, grace_period=3, **changes), MemoryJournal()
    record = ahead(journal, spec)
    workers_in_turn(record, workers)
    found = audit(spec, journal)
    assert found.differences == []
    assert found.suggestions == len(record.trials.all()) > 15
    assert sum(known is not None for known in knew(record)) > 10


def test_a_worker_that_becomes_free_is_given_what_is_there_already():
    executor = AtOnce()
    record = ahead(executor=executor)
    workers_in_turn(record, steps=60)
    while len(record.live) > 1:
        record.report(next(iter(record.live.values())), Failure("error", "boom"))
    asked = executor.calls
    given = record.next_assignment()
    assert given.number == len(record.trials.all()) - 1
    assert executor.calls == asked + 1  # for the one after it


def test_it_knows_all_trials_before_it_and_every_score_at_a_rung_but_the_one_that_freed_the_worker():
    journal = MemoryJournal()
    record = ahead(journal)
    first = record.next_assignment()
    second = record.next_assignment()
    for epoch in (1, 2, 3):
        assert record.report(first, report(epoch, 0.8))
    at_rung = journal.length()
    for epoch, goes_on in ((1, True), (2, True), (3, False)):
        assert record.report(second, report(epoch, 0.3)) is goes_on
    record.next_assignment()
    assert knew(record)[2] == at_rung < journal.length()


def test_where_there_are_no_rungs_it_knows_the_epoch_before_the_last():
    journal = MemoryJournal()
    record = ahead(journal, new_spec(trials=3, sampler="mfgp", max_epochs=4, grace_period=4))
    first = record.next_assignment()
    for epoch in (1, 2, 3):
        record.report(first, report(epoch, 0.5))
    known = journal.length()
    record.report(first, report(4, 0.5))
    record.next_assignment()
    assert knew(record)[1] == known


def test_what_is_known_when_a_worker_asks_needs_no_mention():
    record = ahead()
    record.next_assignment()
    record.next_assignment()
    assert knew(record) == [None, None]


def test_only_a_rung_that_is_passed_has_the_suggestion_made_anew():
    executor = AtOnce()
    record = ahead(spec=new_spec(trials=30, sampler="mfgp", grace_period=2, reduction_factor=4), executor=executor)
    assignment = record.next_assignment()
    calls = []
    for epoch in range(1, 10):
        record.report(assignment, report(epoch, 0.5))
        calls.append(executor.calls)
    # Rungs at 2 and 8; after the last epoch a worker asks at once.
    assert calls == [2, 3, 3, 3, 3, 3, 3, 4, 4]


def test_no_suggestion_is_made_for_a_trial_that_nobody_wants():
    executor = AtOnce()
    record = ahead(spec=new_spec(trials=2, sampler="mfgp", grace_period=9), executor=executor)
    record.new.begin()
    first, second = record.next_assignment(), record.next_assignment()
    for epoch in range(1, 10):
        record.report(first, report(epoch, 0.5))
        record.report(second, report(epoch, 0.5))
    assert executor.calls == 2
    assert record.next_assignment() is None
    record.new.want(3)
    assert record.next_assignment().number == 2
    assert executor.calls == 3


def test_random_values_need_no_thread():
    executor = AtOnce()
    record = ahead(spec=new_spec(trials=5, sampler="random"), executor=executor)
    run(record, 5)
    assert (executor.calls, knew(record)) == (0, [None] * 5)


def test_a_thread_makes_the_same_suggestions():
    with OneThread("suggestion") as thread:
        threaded = workers_in_turn(ahead(executor=thread))
    assert threaded == workers_in_turn(ahead())


def test_a_suggestion_that_is_not_begun_when_a_newer_one_is_wanted_is_never_made():
    made = []
    go_on = threading.Event()
    with OneThread("suggestion") as thread:
        journal = MemoryJournal()
        record = ahead(journal, executor=thread)
        first = record.next_assignment()
        thread.submit(go_on.wait, 10)
        question = record.trials.question

        def noted(created):
            asked = question(created)
            return dataclasses.replace(asked, answer=lambda: made.append(asked.entries) or asked.answer())

        record.trials.question = noted
        record.new.prepare()
        for epoch in (1, 2, 3):
            assert record.report(first, report(epoch, 0.5))
        at_rung = journal.length()
        go_on.set()
        record.next_assignment()
    assert made[0] == at_rung


def test_an_error_in_the_thread_is_an_error_of_the_search():
    def broken(_created):
        return dataclasses.replace(question, answer=lambda: 1 / 0)

    with OneThread("suggestion") as thread:
        record = ahead(executor=thread)
        question = record.trials.question(0)
        record.next_assignment()
        record.trials.question = broken
        record.new.prepare()
        with pytest.raises(ZeroDivisionError):
            record.next_assignment()


def test_when_trials_are_continued_the_suggestion_is_made_anew_for_its_new_number():
    journal = MemoryJournal()
    record = ahead(journal, new_spec(trials=6, sampler="mfgp", max_epochs=3, grace_period=3))
    for _ in range(3):
        assignment = record.next_assignment()
        for epoch in (1, 2, 3):
            record.report(assignment, report(epoch, 0.5, **saved(epoch, 0.5)))
    record.train_longer(9)
    numbers = [record.next_assignment().number for _ in range(3)]
    assert numbers == [3, 4, 5]
    assert audit(record.spec, journal).differences == []


@pytest.mark.parametrize("changes", [{"sampler": "mfgp"}, {"sampler": "tpe"}, {"sampler": "mfgp", "asha": "promote"}])
def test_rebuilt_at_any_moment_a_search_has_the_same_suggestion_ready(changes):
    spec, journal = new_spec(trials=40, grace_period=3, **changes), MemoryJournal()
    record = ahead(journal, spec)
    record.new.begin()
    working, moments = Workers(record), 0
    for _ in range(90):
        working.step()
        rebuilt = ahead(journal.first(journal.length()), spec)
        rebuilt.new.begin()
        live, made_from = record.new.suggestion()
        assert rebuilt.new.suggestion()[0] == live
        moments += made_from != {}
    assert moments > 30
    assert audit(spec, journal).differences == []


def test_a_search_that_is_confirmed_and_goes_on_suggests_what_it_would_have():
    spec = new_spec(trials=20, sampler="mfgp", grace_period=3)
    whole = MemoryJournal()
    workers_in_turn(ahead(whole, spec), workers=1, steps=60)
    journal = whole.first(whole.length())
    for wanted in (whole, journal):
        if wanted is journal:
            confirming = StudyRecord(spec, journal)
            confirming.confirm(Confirmation(2, 2))
            workers_in_turn(confirming, workers=1, steps=40)
        record = ahead(wanted, spec)
        record.new.begin()
        workers_in_turn(record, workers=1, steps=40)
        assert audit(spec, wanted).differences == []
    searched = [trial for trial in StudyRecord(spec, journal).records() if trial.confirms is None]
    assert [trial.params for trial in searched] == [trial.params for trial in StudyRecord(spec, whole).records()]
    assert len(searched) < len(StudyRecord(spec, journal).records())


@pytest.mark.parametrize("claimed", [1, 10**6, "all"])
def test_a_trial_that_claims_to_have_known_something_else_is_found(claimed):
    journal = MemoryJournal()
    workers_in_turn(ahead(journal))
    changed = MemoryJournal()
    entries = journal.read_logs(0)
    created = [entry for entry in entries if entry["op_code"] == 4]
    created[20]["user_attrs"][KNEW] = claimed
    changed.append_logs(entries)
    assert [line.split(" says")[0] for line in audit(MFGP, changed).differences] == ["trial 20"]
