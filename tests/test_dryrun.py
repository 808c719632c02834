"""`tuner search --dry-run`: the median configuration, and what a person reads."""

from __future__ import annotations

import pytest

from tests.factories import LR, NORM, WIDTH, new_space, new_spec
from tuner.dryrun import describe, median_configuration
from tuner.forecast import forecast
from tuner.space import load_space, shipped_spaces
from tuner.training.config import Hyperparameters
from tuner.usage import Share


def test_the_median_is_the_middle_on_the_scale_of_each_dimension():
    depth = {"type": "int", "low": 2, "high": 5, "log": False, "step": None}
    dropout = {"type": "float", "low": 0.0, "high": 0.5, "log": False, "step": None}
    space = new_space(dimensions={"lr": LR, "width": WIDTH, "norm": NORM, "depth": depth, "dropout": dropout})
    params = median_configuration(space)
    assert list(params) == ["lr", "width", "norm", "depth", "dropout"]
    assert params["lr"] == pytest.approx((1e-3 * 0.3) ** 0.5)
    assert params["width"] in (32, 48)
    assert params["norm"] == "none"
    assert params["depth"] in (3, 4)
    assert params["dropout"] == 0.25


def test_a_conditional_dimension_is_in_the_median_only_where_it_exists():
    optimizer = {"type": "choice", "choices": ["adamw", "sgd"]}
    momentum = {"type": "float", "low": 0.5, "high": 0.9, "log": False, "step": None}
    space = new_space(
        dimensions={"momentum": {**momentum, "only_if": {"optimizer": ["adamw"]}}, "optimizer": optimizer}
    )
    assert median_configuration(space) == {"optimizer": "sgd"}


@pytest.mark.parametrize("name", [name for name in shipped_spaces() if not load_space(name).model])
def test_the_median_of_each_shipped_space_is_a_configuration_of_it(name):
    space = load_space(name)
    Hyperparameters.from_params({**space.constants, **median_configuration(space)})


def test_the_forecast_is_a_table_of_rungs_and_a_line_of_hours():
    spec = new_spec(trials=32, max_epochs=27, grace_period=2, reduction_factor=4)
    lines = describe(forecast(spec, epoch_s=60.0, at_once=4), spec, Share(0.0, 1))
    assert lines[1].split() == ["1", "to", "2", "32", "of", "32"]
    assert lines[2].startswith("3 to 8 ")
    assert lines[3].startswith("9 to 27 ")
    assert "(without early stopping 864)" in lines[4]
    assert "with 4 at once" in lines[4]


def test_with_a_budget_it_says_how_far_that_gets():
    def told(budget):
        spec = new_spec(trials=32, max_epochs=27, grace_period=2, reduction_factor=4, budget=budget)
        lines = describe(forecast(spec, epoch_s=60.0, at_once=4), spec, Share(0.5, 1))
        return next((line for line in lines if line.startswith("the budget")), None)

    assert told("") is None
    found = forecast(new_spec(trials=32, max_epochs=27, grace_period=2, reduction_factor=4), epoch_s=60.0, at_once=4)
    gpu_hours = found.worker_s / 3600 / 2
    assert told("1gpuh").startswith("the budget of 1 GPU-hours pays for about ")
    assert told("1gpuh").endswith(f" of the 32 trials, which take about {gpu_hours:.3g} GPU-hours")
    assert told("10 EUR at 1/gpuh").startswith(
        f"the budget of 10 EUR is enough: about {gpu_hours:.3g} EUR are expected"
    )
    assert "it would pay for about " in told("10 EUR at 1/gpuh")
