"""Who is launched and who goes on while a budget lasts; ranks and suggestions stay what they are without one."""

from __future__ import annotations

from tests.test_ledger import Search
from tuner.search.audit import audit

EPOCH_S = 36.0  # a hundredth of a GPU-hour


def train(search, assignment, epochs, score=0.5):
    """Report epochs of `EPOCH_S` each, one after the other; whether the attempt goes on after the last."""
    goes_on = True
    for epoch in epochs:
        search.clock.seconds += EPOCH_S
        goes_on = search.report(assignment, epoch, score, EPOCH_S)
        if not goes_on:
            search.record.release(assignment)
    return goes_on


def new_search(epochs_paid, **changes):
    return Search(**{"budget": f"{epochs_paid / 100}gpuh", "grace_period": 3, "max_epochs": 9, "trials": 9, **changes})


def test_without_a_budget_everything_is_launched():
    search = Search(budget="", trials=4)
    search.clock.seconds = 1e9
    assert [search.record.next_assignment().number for _ in range(4)] == [0, 1, 2, 3]
    assert not search.record.out_of_budget


def test_before_any_epoch_is_measured_trials_are_launched_while_anything_is_left():
    search = new_search(1)
    assert search.record.next_assignment().number == 0
    assert search.record.next_assignment().number == 1


def test_a_trial_is_launched_only_if_it_gets_to_its_first_rung_beside_those_that_run():
    search = new_search(7)
    first = search.record.next_assignment()
    train(search, first, [1])
    # 6 epochs are left, of which the first needs 2 and a new one 3 with a tenth to spare.
    second = search.record.next_assignment()
    assert second.number == 1
    assert search.record.next_assignment() is None
    assert not search.record.exhausted  # two run


def test_what_runs_is_added_up_once_however_many_trials_wait(monkeypatch):
    search = new_search(60, trials=50)
    for _ in range(20):
        search.record.next_assignment()
    search.begin_driver()  # all of them wait again
    train(search, search.record.next_assignment(), [1, 2])
    for _ in range(19):
        search.record.next_assignment()
    asked = []
    need_h = search.record.spending._need_h
    monkeypatch.setattr(search.record.spending, "_need_h", lambda number: asked.append(number) or need_h(number))
    search.record.next_assignment()
    assert 0 < len(asked) <= len(search.record.live)


def test_what_a_trial_that_ended_early_leaves_pays_for_another():
    search = new_search(8, reduction_factor=2)
    first = search.record.next_assignment()
    train(search, first, [1])
    search.record.next_assignment()
    assert search.record.next_assignment() is None
    search.record.lose(first, "gone")  # begins again: 3 epochs, which are there
    assert search.record.next_assignment().attempt == 2


def test_a_trial_at_its_rung_goes_on_only_if_the_next_one_is_paid_for_and_else_waits_in_flight():
    search = new_search(8)
    first = search.record.next_assignment()
    assert train(search, first, [1, 2]) is True
    assert train(search, first, [3]) is False  # the end is 6 epochs away, 5 are left
    trial = search.record.records()[0]
    assert (trial.state, trial.reason) == ("queued", None)
    # Instead a new trial gets to its first rung.
    second = search.record.next_assignment()
    assert second.number == 1
    train(search, second, [1, 2, 3])
    assert search.record.next_assignment() is None
    assert search.record.out_of_budget
    assert search.record.exhausted
    assert search.record.spending.ledger.used_up == (
        "the budget of 0.08 GPU-hours is used up: 0.06 spent, and the rest pays for no rung"
    )


def test_more_budget_goes_on_with_what_waits():
    search = new_search(8)
    train(search, search.record.next_assignment(), [1, 2, 3])
    search.spec = Search(budget="0.2gpuh", grace_period=3, trials=9).spec
    search.begin_driver()
    again = search.record.next_assignment()
    assert (again.number, again.attempt) == (0, 2)
    assert search.spent_s == 3 * EPOCH_S


def test_if_epochs_take_longer_than_expected_those_nearest_to_their_rung_get_there():
    search = new_search(13, grace_period=9)
    near, far = search.record.next_assignment(), search.record.next_assignment()
    for epoch in (1, 2, 3):
        search.clock.seconds += EPOCH_S
        assert search.report(near, epoch, seconds=EPOCH_S)
    # The far one needs 8 epochs of three times that to its end; beside the 6 of the near one 7 are left.
    assert search.report(far, 1, seconds=3 * EPOCH_S) is False
    search.record.release(far)
    assert train(search, near, range(4, 9)) is True
    assert train(search, near, [9]) is False
    assert search.record.records()[near.number].state == "complete"
    assert search.record.records()[far.number].state == "queued"


def test_ranks_and_suggestions_are_those_of_a_study_without_a_budget():
    search = new_search(30, grace_period=1, reduction_factor=3, trials=20)
    number = 0
    while (assignment := search.record.next_assignment()) is not None:
        score = ((assignment.number * 7919 + 13) % 101) / 101
        done = len(search.record.records()[assignment.number].values)
        for epoch in range(max(assignment.start_epoch, done) + 1, 10):
            if not train(search, assignment, [epoch], score):
                break
        number += 1
        assert number < 100
    found = audit(search.spec, search.journal)
    assert found.differences == []
    assert found.decisions > 5
    assert abs(search.record.spending.ledger.left_h) < 0.05
