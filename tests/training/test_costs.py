"""What a network costs: its size exactly, and for how long it looks at a picture."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tuner.training.costs import measure

PICTURE = torch.zeros(1, 3, 8, 8)


def network(width):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width * 36, 2))


def test_the_parameters_are_what_it_learns():
    assert measure(network(4), PICTURE, ["parameters"], bf16=False) == {
        "parameters": 4 * 27 + 4 + 2 * 4 + 2 * 4 * 36 + 2
    }


def test_a_slower_network_has_a_higher_latency_in_milliseconds():
    class Slow(nn.Module):
        def forward(self, x):
            for _ in range(300):
                x = x + 1
            return x

    quick = measure(network(2), PICTURE, ["latency_ms"], bf16=False)["latency_ms"]
    slow = measure(Slow(), PICTURE, ["latency_ms"], bf16=False)["latency_ms"]
    assert 0 < quick < slow < 1000


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(training):
    model = network(4).train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    measure(model, PICTURE + 5, ["latency_ms", "parameters"], bf16=False)
    assert model.training is training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
