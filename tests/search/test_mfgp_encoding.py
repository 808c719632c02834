"""Configurations to numbers and back."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tuner.search.mfgp.encoding import Encoding

DISTRIBUTIONS = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "dropout": FloatDistribution(0.0, 0.5),
    "share": FloatDistribution(0.1, 0.9, step=0.2),
    "width": IntDistribution(16, 64, step=16),
    "batch": IntDistribution(1, 256, log=True),
    "fixed": IntDistribution(3, 3),
    "norm": CategoricalDistribution(["batch", "none", "layer"]),
}


def test_every_unit_row_is_a_configuration_within_the_bounds_and_comes_back_as_the_same():
    encoding = Encoding(DISTRIBUTIONS)
    rows = np.concatenate([np.random.default_rng(0).random((200, 7)), np.zeros((1, 7)), np.ones((1, 7))])
    for row in rows:
        params = encoding.params(row)
        assert all(DISTRIBUTIONS[name]._contains(d.to_internal_repr(params[name])) for name, d in DISTRIBUTIONS.items())
        again = encoding.params(encoding.units([params])[0])
        assert again.pop("norm") == params.pop("norm")
        assert again == pytest.approx(params, rel=1e-9)


def test_each_value_of_an_int_a_step_and_a_choice_has_the_same_share():
    encoding = Encoding(DISTRIBUTIONS)
    grid = [encoding.params(np.full(7, share)) for share in (np.arange(6000) + 0.5) / 6000]
    for name, count in (("width", 4), ("share", 5), ("norm", 3)):
        _, counts = np.unique([params[name] for params in grid], return_counts=True)
        assert counts.tolist() == pytest.approx([6000 / count] * count, abs=2)


def test_features_are_what_a_configuration_means_so_equal_configurations_have_equal_ones():
    encoding = Encoding(DISTRIBUTIONS)
    rows = np.random.default_rng(1).random((50, 7))
    snapped = encoding.units([encoding.params(row) for row in rows])
    assert np.allclose(encoding.features(rows), encoding.features(snapped))


def test_two_categories_are_as_far_apart_as_the_ends_of_a_number():
    encoding = Encoding({"lr": DISTRIBUTIONS["lr"], "norm": DISTRIBUTIONS["norm"]})
    base, other_lr, other_norm = encoding.features(
        encoding.units([{"lr": 1e-4, "norm": "batch"}, {"lr": 1.0, "norm": "batch"}, {"lr": 1e-4, "norm": "layer"}])
    )
    assert np.linalg.norm(base - other_lr) == pytest.approx(1.0)
    assert np.linalg.norm(base - other_norm) == pytest.approx(1.0)


def test_a_dimension_exists_where_its_condition_holds_and_is_in_no_configuration_else():
    distributions = {"optimizer": CategoricalDistribution(["sgd", "adam"]), "momentum": FloatDistribution(0.0, 0.9)}
    encoding = Encoding(distributions, {"momentum": {"optimizer": ["sgd"]}})
    rows = encoding.possible(np.array([[0.2, 0.5], [0.8, 0.5]]), {})
    assert [encoding.params(row) for row in rows] == [{"optimizer": "sgd", "momentum": 0.45}, {"optimizer": "adam"}]
    assert np.isfinite(encoding.features(rows)).all()


def test_a_condition_may_name_values_of_a_number():
    distributions = {"depth": IntDistribution(1, 4), "dense": IntDistribution(0, 8)}
    encoding = Encoding(distributions, {"dense": {"depth": [1, 3]}})
    rows = encoding.possible((np.stack([np.arange(4), np.zeros(4)], axis=1) + 0.5) / [4, 9], {})
    assert ["dense" in encoding.params(row) for row in rows] == [True, False, True, False]
