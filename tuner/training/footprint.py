"""How much memory a configuration of the built-in networks needs on a GPU, by theory: nothing is trained or held.

The network is built on torch's `meta` device, where tensors have shapes and no values. What is left out (libraries'
work space, fragmentation, number formats) is in the same proportion for similar networks, so that what earlier trials
held says by how much to multiply. Shapes: B pictures in a batch, C channels, H height and W width in pixels, K classes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from tuner.training.config import Hyperparameters
from tuner.training.models import build, parameter_count
from tuner.training.validation import gpu_evaluation_batch

_FLOAT_BYTES = 4
_COPIES_OF_A_BATCH = 4  # as it was gathered, normalised, while it is augmented, and after


@lru_cache(maxsize=4096)
def footprint_bytes(hp: Hyperparameters, input_shape: tuple[int, int, int], classes: int) -> int:
    """The most that training or validation of such a trial holds at once, without the data set.

    input_shape: (C, H, W); classes: K. Raises UsageError if that is no network for such pictures.
    """
    weights, saved, largest = _sizes(hp, input_shape, classes)
    channels, height, width = input_shape
    # Weights, their gradients, and what the optimizer keeps of each: SGD one value if it has momentum, Adam two.
    copies = 2 + (2 if hp.optimizer != "sgd" else int(hp.momentum > 0))
    training = hp.batch_size * (saved + 2 * largest + _COPIES_OF_A_BATCH * channels * height * width)
    validation = gpu_evaluation_batch(hp.batch_size) * (2 * largest + channels * height * width)
    return _FLOAT_BYTES * (weights * copies + max(training, validation))


def _sizes(hp: Hyperparameters, input_shape: tuple[int, int, int], classes: int) -> tuple[int, int, int]:
    """Values of the weights; and for one picture, of what backward needs and of the largest layer's output."""
    outputs: list[int] = []

    def note(_layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        outputs.append(output[0].numel())

    with torch.device("meta"):
        network = build(hp, input_shape, classes)
        for layer in network.modules():
            if not any(layer.children()):
                layer.register_forward_hook(note)
        with torch.no_grad():
            network(torch.empty(2, *input_shape))  # batch norm needs two
    return parameter_count(network), sum(outputs), max(outputs)
