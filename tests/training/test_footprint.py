"""What a configuration needs by theory: shapes only."""

import pytest
import torch

from tuner.errors import UsageError
from tuner.training.config import Hyperparameters
from tuner.training.footprint import footprint_bytes

SHAPE = (3, 32, 32)


def needs(**changes):
    return footprint_bytes(Hyperparameters(**changes), SHAPE, 10)


def test_a_small_network_is_added_up_by_hand():
    hp = Hyperparameters(depth=1, width=8, norm="none", head="global", optimizer="sgd", batch_size=4096, momentum=0.0)
    # 3x3 kernels from 3 to 8 channels and a classifier from 8 to 10, with their biases; each has a gradient.
    weights = (3 * 8 * 9 + 8) + (8 * 10 + 10)
    # conv 8x32x32, pool 8x16x16, relu 8x16x16, global average 8, flattened 8, classifier 10
    saved, largest = 8 * 32 * 32 + 2 * 8 * 16 * 16 + 8 + 8 + 10, 8 * 32 * 32
    training = 4096 * (saved + 2 * largest + 4 * 3 * 32 * 32)
    validation = 4 * 4096 * (2 * largest + 3 * 32 * 32)
    assert footprint_bytes(hp, SHAPE, 10) == 4 * (2 * weights + max(training, validation))


def test_it_grows_with_whatever_makes_a_network_larger():
    assert needs() < needs(width=64) < needs(width=64, convs_per_stage=2) < needs(width=64, convs_per_stage=2, depth=4)
    assert needs(batch_size=512) < needs(batch_size=1024)
    assert needs(head="flatten", dense=4096) < needs(head="flatten", dense=4096, optimizer="adamw")


def test_nothing_is_held_and_no_random_number_is_drawn():
    state = torch.get_rng_state()
    assert needs(width=2048, width_cap=4096, depth=4, batch_size=65536) > 100 << 30
    assert torch.equal(torch.get_rng_state(), state)


def test_a_configuration_that_is_no_network_is_refused_as_the_worker_refuses_it():
    with pytest.raises(UsageError, match="too deep"):
        needs(depth=8, padding="valid")
