"""Training and validation pictures as tensors on the device.

Shapes: N pictures of the training side (training and validation together), T of them for training, V for validation,
B in a batch, H height and W width in pixels, C channels.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tuner.training.cache import open_cached, silent
from tuner.training.dataspec import DataInfo, DataSpec
from tuner.training.decoding import Tell

_MEAN_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class TrainingData:
    """The training side of a data set, ready for `TrialTrainer`.

    images: uint8 N x H x W x C, on `device`, or memory-mapped on the host if it does not fit there. Channels come
        last because a batch gathered so is channels-last memory once permuted, at no cost.
    labels: int64 N, on `device`.
    train_indices: int64 T, val_indices: int64 V, on `device`, sorted.
    mean, std: float32 C, on `device`, of the training pictures' values 0..255.
    """

    info: DataInfo
    images: Tensor
    labels: Tensor
    train_indices: Tensor
    val_indices: Tensor
    mean: Tensor
    std: Tensor

    @property
    def device(self) -> torch.device:
        """Where batches are made."""
        return self.labels.device

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures and labels at `indices` (int64 B, on `device`): float32 B x C x H x W, normalised to mean 0 and
        deviation 1 per channel, channels-last in memory; int64 B."""
        if self.images.device == self.device:
            pixels = self.images.index_select(0, indices)
        else:
            pixels = self.images.index_select(0, indices.cpu()).to(self.device)
        count, height, width, channels = pixels.shape
        # As rows of width x channels values: element by element over three channels is six times as slow on a CPU.
        rows = pixels.view(count * height, width * channels).to(torch.float32)
        rows.sub_(self.mean.repeat(width)).div_(self.std.repeat(width))
        return rows.view(count, height, width, channels).permute(0, 3, 1, 2), self.labels[indices]


def load_training_data(
    spec: DataSpec, cache_dir: Path, device: torch.device | str, tell: Tell = silent, *, whole: bool = False
) -> TrainingData:
    """Open the training side, decoding it first if this machine has not yet; opens no test picture.

    The pictures are copied to a GPU if they fit in half of its free memory. whole: the validation pictures are training
    pictures too. Raises UsageError and DataError as
    `open_cached` does.
    """
    device = torch.device(device)
    cached = open_cached(spec, cache_dir, tell)
    train_indices, val_indices = cached.split(spec)
    if whole:
        train_indices = np.arange(len(cached.labels))
    mean, std = _mean_and_std(cached.images, train_indices)
    images = _as_tensor(cached.images)
    if device.type == "cuda" and images.nbytes <= torch.cuda.mem_get_info(device)[0] // 2:
        images = images.to(device)
    return TrainingData(
        info=cached.info(spec),
        images=images,
        labels=torch.from_numpy(cached.labels).to(device),
        train_indices=torch.from_numpy(train_indices).to(device),
        val_indices=torch.from_numpy(val_indices).to(device),
        mean=mean.to(device),
        std=std.to(device),
    )


def _as_tensor(mapped: NDArray[np.uint8]) -> Tensor:
    with warnings.catch_warnings():
        # Of memory that must not be written to, of which torch has no notion: batches are copies.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(mapped)


def _mean_and_std(images: NDArray[np.uint8], indices: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Per channel, from counts of the 256 values: exact, so the same on every machine."""
    channels = images.shape[3]
    counts = np.zeros((channels, 256), np.int64)
    at_once = max(1, _MEAN_CHUNK_BYTES // images[0].nbytes)
    for start in range(0, len(indices), at_once):
        chunk = images[indices[start : start + at_once]]
        for channel in range(channels):
            counts[channel] += np.bincount(chunk[..., channel].ravel(), minlength=256)
    values = np.arange(256)
    total = counts.sum(axis=1)
    mean = (counts * values).sum(axis=1) / total
    variance = (counts * values**2).sum(axis=1) / total - mean**2
    # A constant channel has no deviation to divide by.
    std = np.maximum(np.sqrt(np.maximum(variance, 0)), 1.0)
    return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(std.astype(np.float32))
