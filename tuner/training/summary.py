"""A network layer by layer, as tutorials print theirs: what each gives and how many values it trains."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tuner.training.config import Hyperparameters
from tuner.training.models import BesideZero, Dropout, ResidualBlock, build, parameter_count


@dataclass(frozen=True)
class LayerSummary:
    """One layer. output: its shape for one picture, height x width x channels or units; parameters: trained values."""

    name: str
    output: tuple[int, ...]
    parameters: int


def summarise(hp: Hyperparameters, input_shape: tuple[int, int, int], classes: int) -> list[LayerSummary]:
    """The layers of the network that `build` makes for the same arguments. Raises UsageError as it does."""
    network = build(hp, input_shape, classes).eval()
    layers: list[LayerSummary] = []
    out = torch.zeros(1, *input_shape)
    with torch.inference_mode():
        for layer in network:
            out = layer(out)
            layers.append(LayerSummary(_name(layer), _shape(out), parameter_count(layer)))
    return layers


def summarise_parts(network: nn.Module, input_shape: tuple[int, int, int]) -> list[LayerSummary]:
    """The outermost parts of any network, by their names in it, in the order in which they are used first."""
    parts: list[LayerSummary] = []
    told: set[str] = set()

    def tell(name: str, part: nn.Module, out: object) -> None:
        if name not in told:
            told.add(name)
            shape = _shape(out) if isinstance(out, Tensor) else ()
            parts.append(LayerSummary(f"{name}: {type(part).__name__}", shape, parameter_count(part)))

    children = list(network.named_children())
    while len(children) == 1 and list(children[0][1].children()):
        children = list(children[0][1].named_children())
    hooks = [
        part.register_forward_hook(lambda part, _, out, name=name: tell(name, part, out)) for name, part in children
    ]
    with torch.inference_mode():
        network.eval()(torch.zeros(2, *input_shape))
    for hook in hooks:
        hook.remove()
    rest = parameter_count(network) - sum(part.parameters for part in parts)
    return parts + ([LayerSummary("the rest", (), rest)] if rest else [])


def _shape(out: Tensor) -> tuple[int, ...]:
    """Without the pictures, and with the channels last, as people say it."""
    channels, *sides = out.shape[1:]
    return *sides, channels


def _name(layer: nn.Module) -> str:
    match layer:
        case nn.Conv2d():
            side = layer.kernel_size[0]
            return f"convolution {side} x {side}, {layer.out_channels}"
        case nn.Linear():
            return f"dense {layer.out_features}"
        case nn.MaxPool2d():
            return "max pooling 2 x 2"
        case nn.AvgPool2d():
            return "average pooling 2 x 2"
        case nn.AdaptiveAvgPool2d():
            return "global average pooling"
        case nn.BatchNorm2d():
            return "batch norm"
        case Dropout():
            return f"dropout {layer.p:g}"
        case ResidualBlock():
            return "residual block"
        case BesideZero():
            return "(1 - p, p)"
    return type(layer).__name__.lower()
