from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from tuner.training.config import Hyperparameters
from tuner.training.optimizer import Optimizer


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_decay_shrinks_kernels_and_leaves_biases_and_norms(name: str) -> None:
    model = _net()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = Optimizer(model, Hyperparameters(optimizer=name, l2=0.1))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(0.5)
    for old, parameter in zip(before, model.parameters(), strict=True):
        expected = old * (1 - 0.5 * 0.1) if old.ndim >= 2 else old
        assert torch.allclose(parameter, expected, atol=1e-7)


def test_sgd_is_nesterov_momentum_at_the_given_rate() -> None:
    model = _net()
    parameter = model[3].bias
    first, gradient_1, gradient_2 = parameter.detach().clone(), torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    optimizer = Optimizer(model, Hyperparameters(momentum=0.8, l2=0.0))
    for gradient in (gradient_1, gradient_2):
        parameter.grad = gradient.clone()
        optimizer.step(0.1)
    velocity_2 = 0.8 * gradient_1 + gradient_2
    expected = first - 0.1 * (gradient_1 + 0.8 * gradient_1) - 0.1 * (gradient_2 + 0.8 * velocity_2)
    assert torch.allclose(parameter, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adamw", "adam"])
def test_the_state_goes_on_bit_for_bit_in_another_optimizer(name: str) -> None:
    hp = Hyperparameters(optimizer=name)
    model = _net()
    optimizer = Optimizer(model, hp)
    for seed in range(3):
        _gradients(model, seed)
        optimizer.step(0.05)
    other_model = _net()
    other = Optimizer(other_model, hp)
    other_model.load_state_dict(model.state_dict())
    # As read from a file: contiguous, whatever the memory order of the parameter.
    other.load({key: tensor.contiguous() for key, tensor in optimizer.tensors().items()})
    for seed in range(3, 6):
        for net, engine in ((model, optimizer), (other_model, other)):
            _gradients(net, seed)
            engine.step(0.05)
    for one, two in zip(model.parameters(), other_model.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("name", ["sgd", "plain", "adamw", "adam"])
def test_the_steps_are_those_of_the_classes_of_torch(name: str) -> None:
    own, its = _net(), _net()
    hp = Hyperparameters(optimizer=name.replace("plain", "sgd"), l2=0.0, momentum=0.0 if name == "plain" else 0.9)
    optimizer = Optimizer(own, hp)
    classes = {
        "sgd": lambda of: torch.optim.SGD(of, lr=0.05, momentum=0.9, nesterov=True, fused=True),
        "plain": lambda of: torch.optim.SGD(of, lr=0.05, fused=True),
        "adamw": lambda of: torch.optim.AdamW(of, lr=0.05, betas=(0.9, 0.999), weight_decay=0.0, fused=True),
        "adam": lambda of: torch.optim.Adam(of, lr=0.05, betas=(0.9, 0.999), fused=True),
    }
    engine = classes[name](its.parameters())
    for seed in range(4):
        _gradients(own, seed)
        _gradients(its, seed)
        # A layer without a gradient is left alone: unused in a step, or frozen at first, which torch's SGD cannot bear.
        if seed == 2 or (seed == 0 and name != "sgd"):
            own[0].weight.grad = its[0].weight.grad = None
        optimizer.step(0.05)
        engine.step()
    for one, two in zip(own.parameters(), its.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_state_that_the_classes_of_torch_left_is_taken_over() -> None:
    its, own = _net(), _net()
    engine = torch.optim.AdamW(its.parameters(), lr=0.05, betas=(0.9, 0.999), weight_decay=0.0, fused=True)
    for seed in range(3):
        _gradients(its, seed)
        engine.step()
    own.load_state_dict(its.state_dict())
    optimizer = Optimizer(own, Hyperparameters(optimizer="adamw", l2=0.0))
    states = [engine.state[parameter] for parameter in its.parameters()]
    saved = {f"{index}.{name}": value.clone() for index, state in enumerate(states) for name, value in state.items()}
    optimizer.load(saved)
    _gradients(its, 3)
    _gradients(own, 3)
    engine.step()
    optimizer.step(0.05)
    for one, two in zip(own.parameters(), its.parameters(), strict=True):
        assert torch.equal(one, two)
    assert optimizer.tensors().keys() == saved.keys()


def test_the_number_of_steps_is_what_the_kernels_read_whatever_the_default_is() -> None:
    model = _net()
    torch.set_default_dtype(torch.float64)
    try:
        optimizer = Optimizer(model, Hyperparameters(optimizer="adamw"))
        _gradients(model, 0)
        optimizer.step(0.05)
    finally:
        torch.set_default_dtype(torch.float32)
    assert optimizer.tensors()["0.step"].dtype == torch.float32


def test_sparse_gradients_are_refused_in_words() -> None:
    model = nn.Embedding(3, 2, sparse=True)
    optimizer = Optimizer(model, Hyperparameters())
    model(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="sparse=False"):
        optimizer.step(0.05)


_TRAINS = """
import sys, torch
from torch import nn
from tuner.training.config import Hyperparameters
from tuner.training.optimizer import Optimizer
for name in ("sgd", "adamw", "adam"):
    model = nn.Linear(2, 2)
    optimizer = Optimizer(model, Hyperparameters(optimizer=name))
    model(torch.zeros(1, 2)).sum().backward()
    optimizer.step(0.1)
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.timeout(120)
def test_a_step_does_not_import_the_compiler_of_torch() -> None:
    ran = subprocess.run([sys.executable, "-c", _TRAINS], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def test_gradients_are_cleared_by_a_step() -> None:
    model = _net()
    optimizer = Optimizer(model, Hyperparameters())
    _gradients(model, 0)
    optimizer.step(0.1)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_adam_has_l2_in_the_gradient_of_kernels_and_is_adamw_without() -> None:
    first, second, third = _net(), _net(), _net()
    engines = [
        Optimizer(first, Hyperparameters(optimizer="adam", l2=0.0)),
        Optimizer(second, Hyperparameters(optimizer="adamw", l2=0.0)),
        Optimizer(third, Hyperparameters(optimizer="adam", l2=0.1)),
    ]
    for seed in range(3):
        for net, engine in zip((first, second, third), engines, strict=True):
            _gradients(net, seed)
            if net is third:
                for kernel in (net[0].weight, net[3].weight):
                    kernel.grad -= 0.1 * kernel.detach()  # what l2 adds again
            engine.step(0.01)
    for one, two, three in zip(first.parameters(), second.parameters(), third.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-7)
        assert torch.allclose(one, three, atol=1e-5)


@pytest.mark.parametrize("name", ["sgd", "adamw", "adam"])
def test_l1_moves_kernels_towards_0_and_stops_there(name: str) -> None:
    model = _net()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = Optimizer(model, Hyperparameters(optimizer=name, l2=0.0, l1=0.2))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(0.5)
    for old, parameter in zip(before, model.parameters(), strict=True):
        expected = old.sign() * (old.abs() - 0.5 * 0.2).clamp(min=0) if old.ndim >= 2 else old
        assert torch.allclose(parameter, expected, atol=1e-7)
    assert bool((model[0].weight == 0).any())
