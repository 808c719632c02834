from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tuner.errors import UsageError
from tuner.training.config import Hyperparameters
from tuner.training.models import Dropout, ResidualBlock, build, parameter_count

_KERAS: dict[str, Any] = {"padding": "valid", "norm": "none", "head": "flatten", "width": 32}


@pytest.mark.parametrize(
    ("hp", "input_shape", "count"),
    [
        (Hyperparameters(depth=2, dense=128, **_KERAS), (3, 32, 32), 315_722),
        (Hyperparameters(depth=3, width_cap=64, dense=64, **_KERAS), (1, 28, 28), 60_554),
        (Hyperparameters(depth=2, dense=64, **_KERAS), (1, 28, 28), 121_930),
        (Hyperparameters(depth=2, dense=64, **_KERAS), (3, 32, 32), 167_562),
        # TensorFlow's tutorial: its third convolution is not pooled
        (Hyperparameters(depth=3, width_cap=64, pooled_stages=2, dense=64, **_KERAS), (3, 32, 32), 122_570),
    ],
)
def test_the_classic_keras_networks_are_points_of_the_family(hp, input_shape, count) -> None:
    assert parameter_count(build(hp, input_shape, 10)) == count


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_pooling_before_a_monotone_activation_is_the_classic_order(activation: str) -> None:
    hp = Hyperparameters(depth=1, width=4, activation=activation, norm="none", head="flatten")
    model = build(hp, (1, 8, 8), 3)
    convolution, classifier = model[0], model[-1]
    images = torch.randn(5, 1, 8, 8)
    function = getattr(torch, activation)
    classic = classifier(nn.functional.max_pool2d(function(convolution(images)), 2).flatten(1))
    assert torch.allclose(model(images), classic, atol=1e-6)


def test_average_pooling_comes_after_the_activation() -> None:
    hp = Hyperparameters(depth=1, width=4, pooling="avg", norm="none", head="flatten")
    model = build(hp, (1, 8, 8), 3)
    images = torch.randn(5, 1, 8, 8)
    classic = model[-1](nn.functional.avg_pool2d(torch.relu(model[0](images)), 2).flatten(1))
    assert torch.allclose(model(images), classic, atol=1e-6)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("head", ["global", "flatten"])
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "tanh", "sigmoid"])
def test_every_network_gives_finite_logits(padding, head, norm, activation) -> None:
    hp = Hyperparameters(
        depth=2, width=4, convs_per_stage=2, padding=padding, head=head, norm=norm, activation=activation,
        dropout=0.1, dense=8, dense_dropout=0.5,
    )  # fmt: skip
    logits = build(hp, (3, 21, 21), 7)(torch.randn(2, 3, 21, 21))
    assert logits.shape == (2, 7)
    assert bool(logits.isfinite().all())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_sigmoid_output_trains_by_binary_cross_entropy_and_gives_two_columns(smoothing: float) -> None:
    model = build(Hyperparameters(depth=1, width=4, output="sigmoid"), (1, 8, 8), 2).eval()
    images, labels = torch.randn(9, 1, 8, 8), torch.arange(9) % 2
    logits = model(images)
    single = model[:-1](images).squeeze(1)
    p = single.sigmoid()
    assert torch.allclose(logits.softmax(1), torch.stack([1 - p, p], dim=1), atol=1e-6)
    soft = labels * (1 - smoothing) + smoothing / 2  # as Keras's BinaryCrossentropy smooths
    expected = nn.functional.binary_cross_entropy_with_logits(single, soft)
    found = nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("classes", [3, 10])
def test_a_sigmoid_output_for_more_than_two_classes_is_refused(classes: int) -> None:
    with pytest.raises(UsageError, match=rf"'sigmoid' tells two classes apart, and the data set has {classes}: use"):
        build(Hyperparameters(output="sigmoid"), (1, 8, 8), classes)


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_residual_blocks_change_nothing_at_first_and_every_kernel_of_them_learns(norm: str, padding: str) -> None:
    torch.manual_seed(0)
    hp = Hyperparameters(depth=2, width=4, norm=norm, padding=padding, residual_blocks=2, activation="silu")
    model = build(hp, (1, 16, 16), 3)
    blocks = [layer for layer in model if isinstance(layer, ResidualBlock)]
    assert len(blocks) == 4
    x = torch.randn(5, 4, 6, 6)
    assert torch.equal(blocks[0](x), x)
    before = [parameter.detach().clone() for parameter in blocks[0].parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(2):  # the first step opens the last kernel, through which the second reaches the others
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.randn(8, 1, 16, 16)), torch.arange(8) % 3).backward()
        optimizer.step()
    assert not any(torch.equal(old, new) for old, new in zip(before, blocks[0].parameters(), strict=True))
    assert not torch.equal(blocks[0](x), x)


def test_width_doubles_with_each_stage_up_to_the_cap() -> None:
    model = build(Hyperparameters(depth=4, width=8, width_cap=24, convs_per_stage=2), (3, 32, 32), 10)
    widths = [layer.out_channels for layer in model if isinstance(layer, nn.Conv2d)]
    assert widths == [8, 8, 16, 16, 24, 24, 24, 24]


def test_a_deep_network_stops_pooling_when_one_pixel_is_left() -> None:
    model = build(Hyperparameters(depth=6, width=2), (1, 8, 8), 10)
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in model) == 3
    assert model(torch.randn(2, 1, 8, 8)).shape == (2, 10)


def test_valid_padding_that_leaves_no_picture_is_refused() -> None:
    with pytest.raises(UsageError, match=r"depth = 3 is too deep for pictures of 8 x 8 pixels .* allow fewer stages"):
        build(Hyperparameters(depth=3, padding="valid"), (1, 8, 8), 10)


def test_convolutions_have_a_bias_only_without_norm() -> None:
    for norm, biased in (("batch", False), ("none", True)):
        model = build(Hyperparameters(depth=1, width=4, norm=norm), (1, 8, 8), 10)
        assert (model[0].bias is not None) is biased


def test_initial_weights_keep_the_scale_of_activations() -> None:
    torch.manual_seed(0)
    model = build(Hyperparameters(depth=6, width=64, width_cap=64, norm="none", pooling="avg"), (3, 64, 64), 10)
    convolutions = [layer for layer in model if isinstance(layer, nn.Conv2d | nn.ReLU)]
    out = torch.randn(8, 3, 32, 32)
    for layer in convolutions:
        out = layer(out)
    assert 0.3 < out.pow(2).mean().sqrt().item() < 3


def test_glorots_initial_kernels_are_kerass_for_every_layer() -> None:
    torch.manual_seed(0)
    hp = Hyperparameters(depth=2, width=32, norm="none", head="flatten", dense=64, init="glorot")
    model = build(hp, (3, 32, 32), 10)
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            area = layer.kernel_size[0] ** 2 if isinstance(layer, nn.Conv2d) else 1
            outputs, inputs = layer.weight.shape[:2]
            limit = (6 / (area * (inputs + outputs))) ** 0.5
            assert layer.weight.abs().max().item() == pytest.approx(limit, rel=0.01)
            assert layer.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.1)
            assert layer.bias is not None
            assert not layer.bias.any()


@pytest.mark.parametrize("shape", [(7, 501), (4, 6, 9, 9)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_dropout_drops_its_share_and_keeps_the_mean(shape: tuple[int, ...], channels_last: bool) -> None:
    torch.manual_seed(0)
    x = torch.ones(shape)
    if channels_last and len(shape) == 4:
        x = x.to(memory_format=torch.channels_last)
    layer = Dropout(0.25)
    out = torch.stack([layer(x) for _ in range(60)])
    assert sorted(out.unique().tolist()) == pytest.approx([0, 1 / 0.75])
    assert out.mean().item() == pytest.approx(1, abs=0.02)
    # Each element by itself, not in runs: the average of one over many draws is close to all the others'.
    assert out.mean(dim=0).std().item() == pytest.approx((0.25 / 0.75 / 60) ** 0.5, rel=0.2)


def test_dropout_lets_gradients_through_where_it_kept_and_nothing_in_evaluation() -> None:
    x = torch.ones(100, requires_grad=True)
    out = Dropout(0.5)(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, out.detach())
    assert Dropout(0.5).eval()(x) is x
