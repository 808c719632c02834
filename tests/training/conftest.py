"""What the tests of training share: one torch thread, small picture folders, small decoded data sets."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tuner.training.data import TrainingData
from tuner.training.dataspec import DataInfo

FolderMaker = Callable[..., Path]


@pytest.fixture(autouse=True)
def _one_torch_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def make_folder(tmp_path: Path) -> FolderMaker:
    """`make_folder({"train/cat": 3}, size=(8, 6), mode="RGB")` writes three different PNGs into train/cat."""

    def make(
        counts: Mapping[str, int], *, size: tuple[int, int] = (8, 8), mode: str = "RGB", name: str = "Pets 2"
    ) -> Path:
        root = tmp_path / name
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True)
            for number in range(count):
                rng = np.random.default_rng(zlib.crc32(f"{folder}/{number}".encode()))
                pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).convert(mode).save(root / folder / f"{number:03d}.png")
        return root

    return make


@pytest.fixture
def stripes() -> TrainingData:
    """240 grey 8 x 8 pictures, 200 for training, of two classes that a small net learns at once: horizontal and
    vertical stripes under noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 2
    wave = np.where(np.arange(8) % 2 == 0, 60, 190)
    clean = np.where(labels[:, None, None] == 0, wave[None, :, None], wave[None, None, :])
    pixels = np.clip(clean + rng.normal(0, 40, (240, 8, 8)), 0, 255).astype(np.uint8)[..., np.newaxis]
    info = DataInfo("stripes", ("across", "down"), 8, 8, 1, 200, 40, False, "0" * 64, "none")
    return TrainingData(
        info=info,
        images=torch.from_numpy(pixels),
        labels=torch.from_numpy(labels.astype(np.int64)),
        train_indices=torch.arange(200),
        val_indices=torch.arange(200, 240),
        mean=torch.tensor([125.0]),
        std=torch.tensor([75.0]),
    )
