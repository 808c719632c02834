"""What a search is expected to take, against ASHA itself on random scores."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.factories import new_spec
from tuner import asha
from tuner.forecast import expected_to_go_on, forecast, trials_within


@pytest.mark.parametrize(("arrivals", "reduction_factor"), [(1, 4), (2, 4), (9, 3), (32, 4), (100, 2)])
def test_the_expected_survivors_are_those_of_asha_on_scores_in_random_order(arrivals, reduction_factor):
    draw = random.Random(arrivals)
    rounds = 1500 // arrivals + 50
    passed = 0
    for _ in range(rounds):
        peers: list[float] = []
        for _ in range(arrivals):
            score = draw.random()
            passed += asha.decide(score, peers, reduction_factor).go_on
            peers.append(score)
    expected = expected_to_go_on(arrivals, reduction_factor)
    # Each decision's variance is at most 1/4; five standard errors.
    assert passed / rounds == pytest.approx(expected, abs=5 * (arrivals / 4 / rounds) ** 0.5)


def test_a_part_of_a_trial_counts_for_that_part():
    low, high = expected_to_go_on(4, 3), expected_to_go_on(5, 3)
    assert expected_to_go_on(4.5, 3) == pytest.approx((low + high) / 2)
    assert expected_to_go_on(0.5, 3) == 0.5


def test_all_trials_train_to_the_first_rung_and_fewer_and_fewer_beyond():
    spec = new_spec(trials=32, max_epochs=27, grace_period=2, reduction_factor=4)
    found = forecast(spec, epoch_s=3.0, at_once=4)
    assert [(part.begins, part.ends) for part in found.stretches] == [(0, 2), (2, 8), (8, 27)]
    assert found.stretches[0].trials == 32
    assert found.stretches[1].trials == pytest.approx(expected_to_go_on(32, 4))
    assert found.stretches[2].trials == pytest.approx(expected_to_go_on(expected_to_go_on(32, 4), 4))
    assert found.epochs == pytest.approx(sum(part.trials * (part.ends - part.begins) for part in found.stretches))
    assert found.worker_s == pytest.approx(3.0 * found.epochs)
    assert found.wall_s == pytest.approx(found.worker_s / 4)


def test_more_workers_than_work_do_not_make_a_single_trial_shorter():
    spec = new_spec(trials=2, max_epochs=9, grace_period=9)
    found = forecast(spec, epoch_s=10.0, at_once=64)
    assert found.epochs == 18
    assert found.wall_s == 90.0


def test_the_trials_within_a_number_of_epochs_are_as_many_as_do_not_take_more():
    spec = new_spec(max_epochs=27, grace_period=2, reduction_factor=4)
    for trials in (1, 2, 7, 100):
        epochs = forecast(replace(spec, trials=trials), 1.0, 1).epochs
        assert trials_within(spec, epochs + 0.01) == trials
        assert trials_within(spec, epochs - 0.01) == trials - 1
    assert trials_within(spec, 1e12, most=50) == 50


def test_by_promotion_a_known_share_goes_on_and_somebody_to_the_end():
    spec = new_spec(trials=10, asha="promote")  # rungs 1 and 3 of 9 epochs, reduction factor 3
    assert [stretch.trials for stretch in forecast(spec, 1.0, 1).stretches] == [10, 3, 1]
    few = forecast(replace(spec, trials=2), 1.0, 1)
    assert [stretch.trials for stretch in few.stretches] == [2, 1, 1]
