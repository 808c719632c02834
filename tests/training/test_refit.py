"""Training on training and validation pictures together, with nothing held out."""

from __future__ import annotations

import pytest
import torch

from tests.trained import CONSTANTS, PARAMS
from tuner.training.config import Hyperparameters
from tuner.training.data import load_training_data
from tuner.training.dataspec import DataSpec
from tuner.training.loop import TrialTrainer
from tuner.training.networks import FAMILY
from tuner.training.refit import train_whole

pytestmark = pytest.mark.usefixtures("one_thread")
DATA = DataSpec(dataset="digits", data_dir="/nowhere")


@pytest.fixture(scope="module")
def data(cache):
    return load_training_data(DATA, cache, "cpu", whole=True)


def refitted(data, scores, told=None, **changes):
    hp = Hyperparameters.from_params({**CONSTANTS, **PARAMS, **changes})
    tell = (lambda done, total: told.append((done, total))) if told is not None else (lambda done, total: None)
    return train_whole(
        hp,
        data,
        epochs=len(scores),
        max_epochs=4,
        continued_from=0,
        score="val_accuracy",
        scores=dict(enumerate(scores, start=1)),
        seed=3,
        network=FAMILY,
        params={},
        tell=tell,
    )


def test_all_pictures_are_trained_on_and_the_normalisation_is_theirs(data, cache):
    part = load_training_data(DATA, cache, "cpu")
    assert sorted(data.train_indices.tolist()) == sorted([*part.train_indices.tolist(), *part.val_indices.tolist()])
    assert not torch.equal(data.mean, part.mean)


def test_it_is_the_training_of_a_trial_up_to_that_epoch_bit_for_bit(data):
    told = []
    description, weights = refitted(data, [0.9, 0.5], told)
    trainer = TrialTrainer(
        Hyperparameters.from_params({**CONSTANTS, **PARAMS}), data, max_epochs=4, seed=3, device="cpu"
    )
    for _ in range(2):
        trainer.run_epoch()
    expected = trainer._model.state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[key], expected[key]) for key in weights)
    assert description["mean"] == data.mean.tolist()
    assert told[-1] == (2 * (1438 // 64) * 64, 2 * (1438 // 64) * 64)


def test_a_rate_that_falls_at_plateaus_falls_where_the_run_had_them(data):
    rising, falling = (
        refitted(data, scores, schedule="plateau", plateau_patience=1)[1]
        for scores in ([0.1, 0.2, 0.3], [0.3, 0.2, 0.1])
    )
    assert any(not torch.equal(rising[key], falling[key]) for key in rising)


def test_the_epoch_at_which_the_run_ended_early_is_trained_too(data):
    refitted(data, [0.9, 0.8, 0.9], stop_patience=2)
