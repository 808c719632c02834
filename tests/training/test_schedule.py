from __future__ import annotations

import pytest

from tuner.training.config import Hyperparameters
from tuner.training.schedule import learning_rate


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
