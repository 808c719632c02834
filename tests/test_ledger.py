"""What a study has spent: over crashes, losses and resumes, on a clock of the test's own, without Ray or Redis."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.factories import new_ref, new_spec, new_trial
from tuner.errors import UsageError
from tuner.exchange import Failure, Report
from tuner.ledger import Ledger, budget_of_resume, is_used_up
from tuner.progress import format_budget
from tuner.search.record import StudyRecord
from tuner.search.spending import Spending
from tuner.store.journal import MemoryJournal
from tuner.study import Study, read_study
from tuner.usage import Attempt, Share, Usage, usage_of

HOUR_S = 3600.0
GPU = Share(1.0, 1)


class Clock:
    seconds = 0.0

    def __call__(self):
        return self.seconds


class Search:
    """A driver's record over a journal that outlives it."""

    def __init__(self, share=GPU, **changes):
        self.spec = new_spec(**{"budget": "1gpuh", "max_epochs": 9, "grace_period": 9, **changes})
        self.share = share
        self.journal = MemoryJournal()
        self.clock = Clock()
        self.begin_driver()

    def begin_driver(self):
        self.record = StudyRecord(self.spec, self.journal, spending=Spending(self.spec, self.share, self.clock))

    def launch(self):
        """The next attempt, with a process that is there at once."""
        assignment = self.record.next_assignment()
        if assignment is not None:
            self.record.spending.runs(assignment.number)
        return assignment

    def report(self, assignment, epoch, score=0.5, seconds=10.0):
        return self.record.report(assignment, Report(epoch=epoch, score=score, seconds=seconds))

    @property
    def spent_s(self):
        told = self.record.spending.ledger.spent_h * HOUR_S
        study = read_study(self.spec, self.journal, {"host": "here"})  # as anybody else reads it
        assert study.ledger.spent_h * HOUR_S == pytest.approx(told, abs=0.01)
        return pytest.approx(told, abs=0.01)


def test_an_attempt_is_charged_from_its_launch_to_its_last_report():
    search = Search()
    assignment = search.record.next_assignment()
    search.clock.seconds = 15.0  # the start of the process included
    search.report(assignment, 1)
    assert search.spent_s == 15.0
    search.clock.seconds = 25.0
    search.report(assignment, 2)
    assert search.spent_s == 25.0


def test_waiting_for_a_machine_costs_nothing():
    search = Search()
    assignment = search.record.next_assignment()
    search.clock.seconds = 1000.0
    search.record.spending.runs(assignment.number)
    search.clock.seconds = 1010.0
    search.record.spending.runs(assignment.number)
    search.report(assignment, 1)
    assert search.spent_s == 10.0


def test_lost_and_failed_attempts_are_charged_to_their_end():
    search = Search()
    first, second = search.launch(), search.launch()
    search.clock.seconds = 7.0
    search.record.lose(first, "its machine went away")
    search.clock.seconds = 20.0
    search.record.report(second, Failure("error", "boom"))
    assert search.spent_s == 27.0
    again = search.launch()
    assert (again.number, again.attempt) == (0, 2)
    search.clock.seconds = 30.0
    search.report(again, 1)
    assert search.spent_s == 37.0


def test_of_a_driver_that_died_each_attempt_is_charged_one_epoch_beyond_its_last_report():
    search = Search()
    first, second = search.record.next_assignment(), search.record.next_assignment()
    for epoch in (1, 2, 3):
        search.clock.seconds = 10.0 * epoch
        search.report(first, epoch)
    assert search.spent_s == 30.0
    search.clock.seconds = 35.0  # and dies
    search.begin_driver()
    # The first has taken 10 s an epoch, the second is taken to be like it.
    assert search.spent_s == 30.0 + 10.0 + 10.0
    assert second.number == 1
    search.clock.seconds = 100.0
    again = search.record.next_assignment()
    search.clock.seconds = 104.0
    search.report(again, 4)
    assert search.spent_s == 54.0


def test_an_attempt_that_was_stopped_at_a_report_is_charged_up_to_it():
    search = Search()
    assignment = search.record.next_assignment()
    search.clock.seconds = 10.0
    search.record.stop()
    assert search.report(assignment, 1) is False
    search.record.release(assignment)
    search.begin_driver()
    assert search.spent_s == 10.0


def test_an_attempt_that_never_had_a_process_costs_nothing_once_its_driver_was_stopped():
    search = Search()
    first, second, third = (search.record.next_assignment() for _ in range(3))
    search.clock.seconds = 10.0
    search.report(first, 1)
    search.record.spending.runs(second.number)
    search.record.stop()
    search.clock.seconds = 40.0
    search.record.end_unbegun()
    assert list(search.record.live) == [first.number, second.number]
    search.begin_driver()
    # The two that ran are charged an epoch of 10 s each, for nobody saw their end; the third waited for a machine.
    assert search.spent_s == 10.0 + 10.0 + 10.0
    assert search.record.records()[third.number].state == "queued"


def test_epochs_that_are_trained_again_are_charged_again():
    search = Search()
    first = search.record.next_assignment()
    search.clock.seconds = 10.0
    search.report(first, 1)
    search.record.lose(first, "gone")
    again = search.record.next_assignment()
    search.clock.seconds = 21.0
    search.report(again, 1)
    assert search.spent_s == 21.0


@pytest.mark.parametrize(
    ("budget", "share", "charged_s"), [("1gpuh", Share(0.5, 1), 5.0), ("1cpuh", Share(0.0, 4), 40.0)]
)
def test_a_share_of_a_gpu_is_charged_in_part_and_cores_are_charged_each(budget, share, charged_s):
    search = Search(share, budget=budget)
    assignment = search.record.next_assignment()
    search.clock.seconds = 10.0
    search.report(assignment, 1)
    assert search.spent_s == charged_s


def test_a_study_from_before_it_was_measured_is_charged_what_its_workers_told():
    reports = {1: {"seconds": 3.0}, 2: {"seconds": 5.0, "attempt": 1}}
    usage = usage_of({"attempt": 1}, reports, new_spec().resources, finished=False)
    assert usage == Usage((Attempt(GPU, 8.0, True),), 4.0)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_no_second_is_lost_or_charged_twice(seed):
    draw = random.Random(seed)
    search = Search(trials=30, budget="100gpuh", grace_period=1)
    begun_s, reported_s, recorded_s = {}, {}, 0.0  # what must be charged at least
    for _ in range(150):
        search.clock.seconds += draw.uniform(0.1, 5.0)
        record, now_s = search.record, search.clock.seconds
        live = list(record.live.values())
        event = draw.choice(["launch", "launch", "report", "report", "report", "lose", "fail", "die"])
        if event == "launch" and (assignment := search.launch()) is not None:
            begun_s[assignment.number] = reported_s[assignment.number] = now_s
        elif event == "die":
            search.begin_driver()
        elif live:
            assignment = draw.choice(live)
            recorded_s += now_s - reported_s[assignment.number]
            reported_s[assignment.number] = now_s
            if event == "report":
                epoch = (record.records()[assignment.number].values or [(0, 0)])[-1][0] + 1
                if not search.report(assignment, epoch, draw.random()):
                    record.release(assignment)
            elif event == "lose":
                record.lose(assignment, "gone")
            else:
                record.report(assignment, Failure("error", "boom"))
        spent_s = (
            record.spending.ledger.spent_h * HOUR_S
            if event != "die"
            else search.record.spending.ledger.spent_h * HOUR_S
        )
        assert spent_s >= recorded_s - 0.2 >= -0.2
        # Beyond it only an epoch for each attempt that was running when a driver died.
        unseen = [
            attempt
            for trial in search.record.records()
            for attempt in (trial.usage.attempts[:-1] if trial.state == "running" else trial.usage.attempts)
            if not attempt.over
        ]
        slowest_s = max((trial.usage.epoch_s or 0.0 for trial in search.record.records()), default=0.0)
        assert spent_s <= recorded_s + len(unseen) * max(slowest_s, 10.0) + 0.2
    assert search.spent_s is not None


def finished(number, seconds):
    return new_trial(number, state="complete", usage=Usage((Attempt(GPU, seconds, True),), seconds / 9))


def study_of(*trials, budget="1gpuh", wanted=8):
    return Study(new_spec(), trials, wanted, None, budget=budget)


def test_what_is_left_is_told_in_trials_once_enough_have_ended():
    ledger = Ledger(new_spec(budget="1gpuh"), [finished(0, 360), finished(1, 360)])
    assert format_budget(ledger, 6) == "0.2 of 1 GPU-hours spent"
    ledger.change(finished(2, 360))
    assert format_budget(ledger, 7) == "0.3 of 1 GPU-hours spent, enough for all trials"
    assert format_budget(ledger, 8, elapsed_s=360, spent_before_h=0.2) == (
        "0.3 of 1 GPU-hours spent, used up in about 42m00s, enough for about 7 more trials"
    )
    money = Ledger(new_spec(budget="5 EUR at 5/gpuh"), [finished(number, 360) for number in range(3)])
    assert format_budget(money, 8) == "1.5 of 5 EUR spent, enough for about 7 more trials"


def test_with_asha_by_promotion_nobody_can_tell_how_many_trials_the_rest_pays_for():
    ledger = Ledger(new_spec(budget="1gpuh", asha="promote"), [finished(number, 360) for number in range(3)])
    assert format_budget(ledger, 7) == "0.3 of 1 GPU-hours spent"
    assert ledger.status()["trials_paid"] is None


def test_status_tells_what_is_spent_in_the_unit_of_the_budget():
    assert study_of().status()["budget"] is not None
    assert study_of(budget="").status()["budget"] is None
    status = study_of(finished(0, 360), budget="5 EUR at 5/gpuh").status()["budget"]
    price = {"amount": 5.0, "per": "gpuh"}
    assert status == {"amount": 5.0, "spent": 0.5, "unit": "EUR", "price": price, "trials_paid": None}


def test_a_study_is_used_up_once_the_rest_pays_for_no_rung():
    assert not is_used_up(study_of(finished(0, 1800)))
    # A new trial takes one epoch to its first rung: 3400 / 9 s and some room to spare, which are not left.
    assert is_used_up(study_of(finished(0, 3400)))
    assert not is_used_up(study_of(finished(0, 3400), wanted=1))  # it is complete
    assert not is_used_up(study_of(finished(0, 3400), budget=""))


def paused(number, seconds, score):
    usage = Usage((Attempt(GPU, seconds, True),), seconds)
    return new_trial(number, state="paused", values=[(1, score)], usage=usage, checkpoint=new_ref())


def promoting(*trials, wanted):
    return Study(new_spec(asha="promote"), trials, wanted, None, budget="1gpuh")


def test_with_asha_by_promotion_only_who_is_promoted_has_to_be_paid_for():
    # None of two trials is promoted from a rung of a third, so a new one is next: 1 epoch, which is paid for.
    assert not is_used_up(promoting(paused(0, 1000, 0.5), paused(1, 1000, 0.6), wanted=3))
    # One of three is: 2 epochs to the next rung, which are not, and no new trial is begun in its place.
    three = [paused(0, 1000, 0.5), paused(1, 1000, 0.6), paused(2, 300, 0.4)]
    assert is_used_up(promoting(*three, wanted=4))
    # Once one went on from there, the others only wait to be ended, which costs nothing.
    gone = replace(three[1], state="complete", values=[(epoch, 0.6) for epoch in range(1, 10)])
    assert not is_used_up(promoting(three[0], gone, three[2], wanted=3))


def test_to_resume_a_study_whose_budget_is_used_up_takes_a_larger_total():
    study = study_of(finished(0, 3500))
    with pytest.raises(
        UsageError, match=r"budget of 1 GPU-hours is used up: 0.972 spent.*resume test --budget 1.5gpuh"
    ):
        budget_of_resume(study, None)
    with pytest.raises(UsageError, match=r"budget of 0.5 GPU-hours is used up: 0.972 spent; give.*--budget 1.5gpuh"):
        budget_of_resume(study, "0.5gpuh")
    assert budget_of_resume(study, "2gpuh") == "2gpuh"
    assert budget_of_resume(replace(study, budget=""), None) == ""
    assert budget_of_resume(replace(study, budget="5EUR@5/gpuh"), "9 eur") == "9EUR@5/gpuh"
