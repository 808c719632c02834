"""The kinds of network that a trial may train: the built-in family, torchvision's, and the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from tuner.errors import UsageError
from tuner.training import models
from tuner.training.config import Hyperparameters, Value
from tuner.training.data import TrainingData
from tuner.training.modelspec import ModelSpec
from tuner.training.own_model import OwnNetwork, import_kept, verify_kept
from tuner.training.transfer import WEIGHTS_FILE, TorchvisionNetwork


class Architecture(Protocol):
    """What `TrialTrainer` and the export know of a kind of network.

    spec: None for the built-in family. channels_last: whether its activations may lie in memory so, which is faster.
    """

    @property
    def spec(self) -> ModelSpec | None:
        """The study's record of it."""

    @property
    def channels_last(self) -> bool:
        """Whether batches and kernels are given to it in that memory order."""

    def build(
        self, hp: Hyperparameters, params: Mapping[str, Value], input_shape: tuple[int, int, int], classes: int
    ) -> nn.Module:
        """A network from float normalised N x C x H x W to logits N x K. Initial weights come from torch's default
        generator or from a file.

        params: the constants of the space and the values of its dimensions, and nothing else. input_shape: (C, H, W).
        Raises UsageError if that is no network for such pictures; the user's own function raises what it likes.
        """

    def normalisation(self, channels: int) -> tuple[list[float], list[float]] | None:
        """Mean and deviation per channel, 0 to 255, that the network wants; None: the data set's own."""

    def head(self, network: nn.Module) -> nn.Module | None:
        """The layer that learns in `frozen_epochs`; None if that is not known."""


class Family:
    """The built-in CNNs of `models`."""

    spec = None
    channels_last = True

    def build(
        self,
        hp: Hyperparameters,
        params: Mapping[str, Value],  # noqa: ARG002
        input_shape: tuple[int, int, int],
        classes: int,
    ) -> nn.Module:
        """See `models.build`; `hp` says it all. Raises UsageError for epochs that are to be frozen."""
        if hp.frozen_epochs:
            raise UsageError(
                f"frozen_epochs = {hp.frozen_epochs} is for networks with trained weights: --model torchvision:NAME"
            )
        return models.build(hp, input_shape, classes)

    def normalisation(self, channels: int) -> None:
        """The data set's own."""

    def head(self, network: nn.Module) -> None:
        """Nothing is ever frozen."""


FAMILY: Architecture = Family()


def normalised(data: TrainingData, network: Architecture) -> TrainingData:
    """`data` with its values as the network wants them: trained weights know those that they were trained with."""
    wanted = network.normalisation(data.info.channels)
    if wanted is None:
        return data
    mean, std = (torch.tensor(values, device=data.device) for values in wanted)
    return replace(data, mean=mean, std=std)


def open_network(spec: ModelSpec | None, folder: Path) -> Architecture:
    """The network of a study, from the files that the study keeps of it in `folder`.

    Raises CheckpointError if one is missing or changed, UsageError if the user's module cannot be imported.
    """
    if spec is None:
        return FAMILY
    if spec.own:
        return OwnNetwork(spec, import_kept(spec, folder))
    verify_kept(spec, folder)
    return TorchvisionNetwork(spec, folder / WEIGHTS_FILE if spec.files else None)
