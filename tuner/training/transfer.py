"""torchvision's networks for other classes and pictures: with a new last layer, from initial weights or none.

Shapes: N pictures, C channels, H height and W width in pixels, K classes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from torch import Tensor, nn

from tuner.errors import CheckpointError, UsageError, first_line
from tuner.training.config import FAMILY, Hyperparameters, Value
from tuner.training.models import load_state
from tuner.training.modelspec import ModelSpec

WEIGHTS_FILE = "weights.safetensors"
COLOURS = 3

# Beside the usual way through the network, for training from scratch; torchvision drops them too.
_AUXILIARY = re.compile(r"(AuxLogits|aux1|aux2)\.")
# How torchvision's published DenseNets name their layers.
_OLD_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)")


def check_builder(name: str) -> None:
    """Raise UsageError unless torchvision has a classifier of this name."""
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        near = [other for other in known if other.startswith(name[:4])] or known
        raise UsageError(
            f"torchvision has no classifier {name!r}; it has {', '.join(near[:8])}, ... "
            "(torchvision.models.list_models(module=torchvision.models) lists all)"
        )


class GreyInput(nn.Module):
    """Grey pictures for a network of colours: repeats them three times, as `scale` x + `shift` per colour."""

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("scale", scale.view(1, -1, 1, 1), persistent=False)
        self.register_buffer("shift", shift.view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits for `images`, N x 1 x H x W."""
        return cast(Tensor, self.network(images * self.scale + self.shift))


class TorchvisionNetwork:
    """What `TrialTrainer` needs to know of such a network; see `networks.Architecture`.

    spec: its name, and what its weights were normalised by. weights: file of the initial weights of all but the last
    layer; None: torchvision's own random ones.
    """

    channels_last = True

    def __init__(self, spec: ModelSpec, weights: Path | None = None) -> None:
        self.spec = spec
        self._weights = weights

    def build(
        self,
        hp: Hyperparameters,  # noqa: ARG002
        params: Mapping[str, Value],
        input_shape: tuple[int, int, int],
        classes: int,
    ) -> nn.Module:
        """The network with a last layer for `classes`. Raises UsageError for parameters of the built-in networks and
        for pictures that it cannot take, CheckpointError if the weights cannot be read."""
        wrong = next((key for key in params if key in FAMILY), None)
        if wrong is not None:
            raise UsageError(
                f"{wrong} is of the built-in networks and means nothing to {self.spec.name}: leave it out of the "
                "space, or use --space transfer"
            )
        network = new_network(self.spec.function, classes, pretrained=bool(self.spec.mean))
        if self._weights is not None:
            try:
                tensors = safetensors.torch.load(self._weights.read_bytes())
            except OSError as error:
                raise CheckpointError(f"cannot read the weights {self._weights}: {error.strerror or error}") from error
            load_body(network, tensors, str(self._weights))
        if input_shape[0] != COLOURS:
            network = GreyInput(network, *self._grey_to_colours())
        self._check_size(network, input_shape)
        return network

    def normalisation(self, channels: int) -> tuple[list[float], list[float]] | None:
        """Mean and deviation per channel, 0 to 255, that the weights want; None: the data set's own."""
        mean, std = self.spec.mean, self.spec.std
        if not mean:
            return None
        if channels != COLOURS:
            mean, std = [sum(mean) / COLOURS], [sum(std) / COLOURS]
        return [255 * value for value in mean], [255 * value for value in std]

    def head(self, network: nn.Module) -> nn.Module:
        """The last layer, which is new."""
        return last_layer(network)[1]

    def _grey_to_colours(self) -> tuple[Tensor, Tensor]:
        """Scale and shift from a grey value, normalised as `normalisation` says, to one normalised for each colour."""
        grey = self.normalisation(1)
        if grey is None:
            return torch.ones(COLOURS), torch.zeros(COLOURS)
        mean, std = 255 * torch.tensor(self.spec.mean), 255 * torch.tensor(self.spec.std)
        return grey[1][0] / std, (grey[0][0] - mean) / std

    def _check_size(self, network: nn.Module, input_shape: tuple[int, int, int]) -> None:
        try:
            with torch.no_grad():
                network.eval()(torch.zeros(2, *input_shape))
        except (RuntimeError, ValueError, AssertionError) as error:
            sides = " x ".join(map(str, input_shape[1:]))
            raise UsageError(
                f"{self.spec.name} takes no pictures of {sides} pixels ({first_line(error)}): give --image-size "
                f"{_usual_size(self.spec.function)}"
            ) from None


def new_network(name: str, classes: int, *, pretrained: bool) -> nn.Module:
    """torchvision's network `name` for `classes`, with random weights from torch's default generator.

    pretrained: it will take published weights. Raises UsageError if there is no such network.
    """
    check_builder(name)
    from torchvision.models import get_model

    options: dict[str, Any] = {"num_classes": classes}
    if name in ("inception_v3", "googlenet"):
        # Their published weights want other numbers than all others, and the network converts what comes in.
        options |= {"aux_logits": False, "init_weights": not pretrained, "transform_input": pretrained}
    return cast(nn.Module, get_model(name, weights=None, **options))


def last_layer(network: nn.Module) -> tuple[str, nn.Module]:
    """The layer that gives the logits, and its name."""
    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return layers[-1]


def body_of(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """What `network` takes from the state dict `tensors`: all but its last layer, and nothing may be missing or left.

    Raises UsageError that names `source` if it is of another network.
    """
    head = last_layer(network)[0] + "."
    given = {_OLD_DENSENET.sub(r"\1\2", key): tensor for key, tensor in tensors.items() if not _AUXILIARY.match(key)}
    body = {}
    for key, own in network.state_dict().items():
        if key.startswith(head):
            given.pop(key, None)
            continue
        tensor = given.pop(key, None)
        if tensor is None and key.endswith("num_batches_tracked"):
            tensor = own  # absent from weights of before 2018
        if tensor is None or tensor.shape != own.shape:
            what = "is missing" if tensor is None else f"has shape {tuple(tensor.shape)}, not {tuple(own.shape)}"
            raise UsageError(f"{source} holds no weights of this network: {key} {what}")
        body[key] = tensor.detach().to(own.dtype).contiguous()
    if given:
        raise UsageError(f"{source} holds no weights of this network, which has no {next(iter(given))}")
    return body


def load_body(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Take over `tensors`; the last layer stays as it is. Raises UsageError as `body_of` does."""
    load_state(network, {**network.state_dict(), **body_of(network, tensors, source)})


def freeze(network: nn.Module, head: nn.Module, *, frozen: bool) -> None:
    """Let only `head` learn, or everything again; for the epoch that follows, `network` being in training mode.

    Frozen layers behave as in evaluation: their norms neither use nor update the statistics of a batch, and nothing is
    dropped out in them.
    """
    for parameter in network.parameters():
        parameter.requires_grad_(not frozen)
    for parameter in head.parameters():
        parameter.requires_grad_(True)
    if frozen:
        network.eval()
        head.train()


def _usual_size(name: str) -> int:
    from torchvision.models import get_model_weights

    crop = get_model_weights(name).DEFAULT.transforms().crop_size
    return int(crop[0])
