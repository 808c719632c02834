"""Grad-CAM: the heat is where the evidence is."""

import pytest
import torch
from torch import nn

from tuner.errors import UsageError
from tuner.training import models
from tuner.training.config import Hyperparameters
from tuner.training.gradcam import grad_cam


class Bright(nn.Module):
    """Class 1 is the amount of light, class 0 the lack of it; class 2 is never found."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.ones_(self.convolution.weight)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        light = self.pool(torch.relu(self.convolution(x))).flatten(1)
        return torch.cat([-light, light, torch.zeros_like(light)], dim=1)


def spot(row, column):
    picture = torch.zeros(1, 1, 8, 8)
    picture[0, 0, row, column] = 1.0
    return picture


def test_the_heat_is_highest_where_the_evidence_is_and_between_0_and_1():
    pictures = torch.cat([spot(1, 6), spot(5, 2)])
    heat = grad_cam(Bright(), pictures, torch.tensor([1, 1]))
    assert heat.shape == (2, 8, 8)
    assert [divmod(int(one.argmax()), 8) for one in heat] == [(1, 6), (5, 2)]
    assert (heat.min(), heat.max()) == (0.0, 1.0)


def test_nothing_speaks_for_a_class_without_evidence():
    heat = grad_cam(Bright(), spot(1, 6), torch.tensor([0]))
    assert heat.abs().max() == 0.0


def test_the_model_is_left_as_it_was():
    model = Bright().train()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():
        grad_cam(model, spot(1, 6), torch.tensor([1]))
    assert model.training
    assert model.convolution.weight.grad is None
    assert not model.convolution._forward_hooks


@pytest.mark.parametrize(
    "changes",
    [{}, {"residual_blocks": 1}, {"output": "sigmoid"}, {"norm": "none", "activation": "tanh"}],
    ids=["plain", "residual", "sigmoid", "no norm"],
)
def test_it_works_on_the_networks_of_a_search(changes):
    torch.manual_seed(0)
    hp = Hyperparameters.from_params({"depth": 2, "width": 8, **changes})
    network = models.build(hp, (3, 16, 16), 2)
    pictures = torch.randn(4, 3, 16, 16)
    heat = grad_cam(network, pictures, torch.tensor([0, 1, 0, 1]))
    assert heat.shape == (4, 16, 16)
    assert torch.isfinite(heat).all()
    assert heat.max() == 1.0


def test_a_residual_block_counts_with_its_sum():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(1, 1, 1, bias=False)
            self.block = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False))
            self.sum = nn.Identity()
            nn.init.ones_(self.first.weight)
            nn.init.zeros_(self.block[0].weight)

        def forward(self, x):
            x = self.first(x)
            light = self.sum(x + self.block(x)).mean(dim=(2, 3))
            return torch.cat([torch.zeros_like(light), light], dim=1)

    # The branch alone is zero everywhere.
    assert divmod(int(grad_cam(Residual(), spot(3, 4), torch.tensor([1]))[0].argmax()), 8) == (3, 4)


def test_a_network_without_convolution_is_refused():
    with pytest.raises(UsageError, match="needs a convolution"):
        grad_cam(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), spot(0, 0), torch.tensor([0]))
