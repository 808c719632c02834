"""The family of CNNs that a search chooses from.

Shapes: N pictures, C channels, H height and W width in pixels, K classes. A stage is `convs_per_stage` times
convolution - norm - activation, with 2 x 2 pooling and dropout at its end. Maximum pooling comes right after the last
convolution: for the monotone activations that is the same function without norm, and three quarters of the stage's
norm and activation work are gone (3,300 against 4,400 pictures a second on two cores; Page 2019, "How to Train Your
ResNet 8", moves it likewise). Residual blocks come after the pooling, as in that network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from tuner.errors import UsageError
from tuner.training.config import Hyperparameters, check_classes

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
_SATURATING = frozenset({"tanh", "sigmoid"})


class Dropout(nn.Module):
    """Inverted dropout (Srivastava et al. 2014); on a CPU each decision costs 16 random bits.

    PyTorch's own draws a 64-bit number an element there, one after the other: a quarter of the training time of a
    small net (11 ms against 4 ms for a million activations). `p` is rounded to a multiple of 2^-16.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements of `x` (any shape) in training, nothing in evaluation."""
        if not self.training:
            return x
        if x.device.type != "cpu":
            return nn.functional.dropout(x, self.p)
        words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        bits = words.view(torch.int16)[: x.numel()]
        kept = bits >= round(self.p * 2**16) - 2**15
        # The mask takes the memory order of x; any order will do for independent draws, and a mixed one is slow.
        dense = x if x.is_contiguous(memory_format=torch.channels_last) else x.contiguous()
        mask = kept.as_strided(dense.shape, dense.stride()).to(x.dtype).mul_(1 / (1 - self.p))
        return dense * mask


class ResidualBlock(nn.Module):
    """x + F(x), where F is twice norm - activation - convolution (He et al. 2016, "Identity Mappings in Deep Residual
    Networks", figure 4e): N x C x H x W to the same shape."""

    def __init__(self, hp: Hyperparameters, channels: int) -> None:
        super().__init__()
        normed = hp.norm == "batch"
        layers: list[nn.Module] = []
        for biased in (not normed, True):  # a bias before a norm has no effect
            layers += [nn.BatchNorm2d(channels)] if normed else []
            layers.append(_ACTIVATIONS[hp.activation]())
            layers.append(nn.Conv2d(channels, channels, hp.kernel_size, padding=hp.kernel_size // 2, bias=biased))
        self.branch = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output for `x`."""
        return x + cast(Tensor, self.branch(x))

    def start_as_identity(self) -> None:
        """Make F(x) = 0 for all x, so that a deep network learns at first like one without its blocks (Zhang et al.
        2019, "Fixup Initialization")."""
        last = self.branch[-1]
        assert isinstance(last, nn.Conv2d)
        nn.init.zeros_(last.weight)


class BesideZero(nn.Module):
    """Logits N x 1 of "the second class" to logits N x 2 with 0 for the first.

    Softmax then gives (1 - sigmoid(z), sigmoid(z)), and its cross-entropy is the binary cross-entropy, with label
    smoothing too: all that comes after sees two classes as ever.
    """

    def forward(self, logits: Tensor) -> Tensor:
        """(0, z) for each z of `logits`."""
        return nn.functional.pad(logits, (1, 0))


def build(hp: Hyperparameters, input_shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Build a network that takes float normalised N x C x H x W and gives logits N x K.

    input_shape: (C, H, W); classes: K. Initial weights come from torch's default generator. Raises UsageError if
    'valid' padding leaves no picture, or if a sigmoid output has more than two classes to tell apart.
    """
    check_classes(hp.output, classes)
    channels, height, width = input_shape
    layers: list[nn.Module] = []
    for stage in range(hp.depth):
        wide = min(hp.width * 2**stage, hp.width_cap)
        for position in range(hp.convs_per_stage):
            if hp.padding == "valid":
                height, width = height - hp.kernel_size + 1, width - hp.kernel_size + 1
                _check_size(hp, height, width, stage, input_shape)
            last = position == hp.convs_per_stage - 1
            pools = last and stage < hp.pooled_stages and min(height, width) >= 2
            layers += _convolution(hp, channels, wide, pools)
            channels = wide
            if pools:
                height, width = height // 2, width // 2
        layers += [ResidualBlock(hp, channels) for _ in range(hp.residual_blocks)]
        if hp.dropout:
            layers.append(Dropout(hp.dropout))
    if hp.head == "global":
        layers.append(nn.AdaptiveAvgPool2d(1))
        height, width = 1, 1
    layers.append(nn.Flatten())
    features = channels * height * width
    if hp.dense:
        layers += [nn.Linear(features, hp.dense), _ACTIVATIONS[hp.activation]()]
        features = hp.dense
    if hp.dense_dropout:
        layers.append(Dropout(hp.dense_dropout))
    layers += [nn.Linear(features, 1), BesideZero()] if hp.output == "sigmoid" else [nn.Linear(features, classes)]
    model = nn.Sequential(*layers)
    _initialise(model, hp)
    return model


def load_state(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load the state dict `tensors`, which came from a file and so without the versions of layers that torch notes in
    one: some layers of torchvision want theirs. Raises RuntimeError if it is of another network."""
    state = network.state_dict()
    state.update(tensors)
    if len(state) != len(tensors):
        raise RuntimeError(f"the weights lack {next(key for key in state if key not in tensors)}")
    network.load_state_dict(state)


def parameter_count(model: nn.Module) -> int:
    """The number of trained values."""
    return sum(parameter.numel() for parameter in model.parameters())


def _check_size(hp: Hyperparameters, height: int, width: int, stage: int, input_shape: tuple[int, int, int]) -> None:
    if min(height, width) < 1:
        raise UsageError(
            f"depth = {hp.depth} is too deep for pictures of {input_shape[1]} x {input_shape[2]} pixels with "
            f"padding = 'valid' and kernel_size = {hp.kernel_size}: nothing is left at stage {stage + 1}; "
            f"allow fewer stages, or padding = 'same'"
        )


def _convolution(hp: Hyperparameters, inputs: int, outputs: int, pools: bool) -> list[nn.Module]:
    normed = hp.norm == "batch"
    padding = hp.kernel_size // 2 if hp.padding == "same" else 0
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, hp.kernel_size, padding=padding, bias=not normed)]
    if pools and hp.pooling == "max":
        layers.append(nn.MaxPool2d(2))
    if normed:
        layers.append(nn.BatchNorm2d(outputs))
    layers.append(_ACTIVATIONS[hp.activation]())
    if pools and hp.pooling == "avg":
        layers.append(nn.AvgPool2d(2))
    return layers


def _initialise(model: nn.Sequential, hp: Hyperparameters) -> None:
    """He et al. 2015 (eq. 10) for rectifiers, Glorot & Bengio 2010 (eq. 16) otherwise and for the classifier; with
    `init` = 'glorot', as in Keras, the latter for all."""
    kernels = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer in kernels:
        if hp.init == "glorot" or hp.activation in _SATURATING or layer is kernels[-1]:
            nn.init.xavier_uniform_(layer.weight)
        else:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    for block in model:
        if isinstance(block, ResidualBlock):
            block.start_as_identity()
