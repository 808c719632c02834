from __future__ import annotations

import pytest

from tuner.training.config import Hyperparameters
from tuner.training.schedule import Plateaus, learning_rate, plateaus


@pytest.mark.parametrize(
    ("position", "rate"), [(0, 0.0), (0.5, 0.2), (1, 0.4), (3, 0.34142), (5, 0.2), (9, 0.0), (10, 0.0)]
)
def test_the_rate_warms_up_linearly_and_falls_as_a_cosine_to_0(position: float, rate: float) -> None:
    assert learning_rate(Hyperparameters(lr=0.4, warmup_epochs=1), position, 9) == pytest.approx(rate, abs=1e-4)


def test_a_constant_schedule_stays_at_the_peak() -> None:
    hp = Hyperparameters(lr=0.4, warmup_epochs=1, schedule="constant")
    assert [learning_rate(hp, position, 9) for position in (0.5, 1, 8.9)] == [0.2, 0.4, 0.4]


def test_the_warm_up_takes_at_most_half_of_the_trial() -> None:
    hp = Hyperparameters(lr=0.4, warmup_epochs=5)
    assert [learning_rate(hp, position, 2) for position in (0.5, 1.0, 2.0)] == pytest.approx([0.2, 0.4, 0.0])


def test_without_warm_up_the_peak_comes_first() -> None:
    assert learning_rate(Hyperparameters(lr=0.4, warmup_epochs=0), 0, 3) == 0.4


@pytest.mark.parametrize(("schedule", "rates"), [("cosine", (0.2, 0.0, 0.4, 0.2, 0.0)), ("constant", (0.4,) * 5)])
def test_a_trial_that_is_trained_longer_starts_from_the_peak_again_without_a_warm_up(schedule: str, rates) -> None:
    hp = Hyperparameters(lr=0.4, warmup_epochs=1, schedule=schedule)
    last_of_the_first = 9 - 1e-9
    found = [learning_rate(hp, position, 27, continued_from=9) for position in (5, last_of_the_first, 9, 18, 27)]
    assert found == pytest.approx(rates, abs=1e-6)


def test_up_to_where_it_is_continued_the_rate_is_that_of_the_first_training() -> None:
    hp = Hyperparameters(lr=0.4, warmup_epochs=1)
    positions = [0.0, 0.5, 1.0, 3.0, 8.5]
    assert [learning_rate(hp, position, 27, continued_from=9) for position in positions] == [
        learning_rate(hp, position, 9) for position in positions
    ]


def test_an_exponential_schedule_falls_by_its_factor_each_epoch_also_when_trained_longer() -> None:
    hp = Hyperparameters(lr=0.4, warmup_epochs=1, schedule="exponential", lr_decay=0.5)
    assert [learning_rate(hp, position, 9) for position in (0.5, 1, 2, 4)] == pytest.approx([0.2, 0.4, 0.2, 0.05])
    assert learning_rate(hp, 10, 18, continued_from=9) == pytest.approx(learning_rate(hp, 10, 18))


def test_a_plateau_schedule_falls_by_its_factor_at_each_plateau() -> None:
    hp = Hyperparameters(lr=0.4, warmup_epochs=1, schedule="plateau", plateau_factor=0.1)
    assert [learning_rate(hp, 5.5, 9, plateaus_seen=seen) for seen in (0, 1, 2)] == pytest.approx([0.4, 0.04, 0.004])
    assert learning_rate(hp, 12, 18, continued_from=9, plateaus_seen=1) == pytest.approx(0.04)
    assert learning_rate(hp, 0.5, 9, plateaus_seen=0) == 0.2


@pytest.mark.parametrize(
    ("scores", "found"),
    [
        ([], Plateaus(0, 0, 0)),
        ([0.1], Plateaus(1, 0, 0)),
        ([0.0, 0.0], Plateaus(1, 1, 0)),
        ([0.5, 0.4], Plateaus(1, 1, 0)),
        ([0.5, 0.4, 0.5], Plateaus(1, 2, 1)),  # an equal score is no better one
        ([0.5, 0.4, 0.6], Plateaus(3, 0, 0)),
        ([0.5, 0.4, 0.4, 0.4], Plateaus(1, 3, 1)),
        ([0.5, 0.4, 0.4, 0.4, 0.4], Plateaus(1, 4, 2)),
        ([0.5, 0.4, 0.4, 0.4, 0.6, 0.1, 0.1], Plateaus(5, 2, 2)),
    ],
)
def test_a_plateau_is_so_many_epochs_without_a_better_score_and_then_the_count_starts_anew(scores, found) -> None:
    assert plateaus(scores, 2) == found
