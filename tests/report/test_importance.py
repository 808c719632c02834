"""Which dimensions mattered: those by which good trials differ from the others."""

import random

from tests.factories import new_space
from tests.report.studies import DIMENSIONS, detail_of, draw, searched, trial_of
from tuner.report.importance import FEWEST, importances


def test_what_decides_the_score_is_important_and_the_rest_is_not():
    shares = importances(searched(200))
    assert set(shares) == set(DIMENSIONS)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert abs(sum(shares.values()) - 1.0) < 1e-9
    assert set(list(shares)[:2]) == {"lr", "dropout"}
    assert shares["lr"] + shares["dropout"] > 0.6


def test_of_few_trials_nothing_is_told():
    trials = [trial_of(number, (0.5,), state="complete") for number in range(FEWEST - 1)]
    assert importances(detail_of(*trials)) == {}


def test_a_dimension_that_had_one_value_only_is_left_out():
    trials = [
        trial_of(number, (number / 20,), state="complete", params={"lr": 0.01, "width": 16, "norm": "batch"})
        for number in range(20)
    ]
    assert importances(detail_of(*trials)) == {}


def test_trials_that_went_further_are_better_and_failed_ones_do_not_count():
    # Stopped trials have higher scores than those that were trained to the end: the rung says who was better.
    chance = random.Random(0)
    trials = []
    for number in range(60):
        good = number % 3 == 0
        params = {**draw(chance), "width": 64 if good else 16}
        scores = (0.3, 0.3, 0.3) if good else (0.9,)
        state = "complete" if good else "pruned" if number % 3 == 1 else "failed"
        trials.append(trial_of(number, scores, state=state, params=params))
    shares = importances(detail_of(*trials, space=new_space(dimensions=DIMENSIONS)))
    assert next(iter(shares)) == "width"
