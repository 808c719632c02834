from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tuner.training.cache import describe, open_cached
from tuner.training.data import load_training_data
from tuner.training.dataspec import DataSpec


def test_the_digits_are_split_stratified_and_nothing_is_in_both_parts(tmp_path: Path) -> None:
    spec = DataSpec("digits", str(tmp_path))
    data = load_training_data(spec, tmp_path / "cache", "cpu")
    assert data.info == describe(spec, tmp_path / "cache")
    assert (data.info.train_size, data.info.val_size) == (len(data.train_indices), len(data.val_indices)) == (1295, 143)
    assert sorted([*data.train_indices.tolist(), *data.val_indices.tolist()]) == list(range(1438))
    assert set(torch.bincount(data.labels[data.val_indices]).tolist()) <= {14, 15}
    assert data.info.flip is False


def test_a_batch_is_normalised_by_the_training_pictures_alone(tmp_path: Path) -> None:
    spec = DataSpec("digits", str(tmp_path))
    data = load_training_data(spec, tmp_path / "cache", "cpu")
    pixels = open_cached(spec, tmp_path / "cache").images[data.train_indices.numpy()].astype(np.float64)
    assert np.allclose(data.mean, pixels.mean(axis=(0, 1, 2)))
    assert np.allclose(data.std, pixels.std(axis=(0, 1, 2)))
    images, labels = data.batch(data.train_indices)
    assert images.shape == (1295, 1, 8, 8)
    assert images.dtype == torch.float32
    assert abs(images.mean().item()) < 1e-5
    assert abs(images.std().item() - 1) < 1e-3
    assert torch.equal(labels, data.labels[data.train_indices])


def test_colours_keep_their_channel_and_memory_is_channels_last(make_folder, tmp_path: Path) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3, "test/cat": 1})
    data = load_training_data(DataSpec(str(root), "", image_size=8), tmp_path / "cache", "cpu")
    images, _ = data.batch(torch.tensor([4, 1]))
    assert images.is_contiguous(memory_format=torch.channels_last)
    back = images * data.std.view(1, 3, 1, 1) + data.mean.view(1, 3, 1, 1)
    assert torch.allclose(back, data.images[[4, 1]].permute(0, 3, 1, 2).float(), atol=1e-3)


def test_a_constant_picture_set_divides_by_no_zero(make_folder, tmp_path: Path) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3, "test/cat": 1})
    black = (root / "train/cat/000.png").with_name("black.png")
    Image.new("RGB", (8, 8)).save(black)
    for path in root.glob("train/*/*.png"):
        path.write_bytes(black.read_bytes())
    data = load_training_data(DataSpec(str(root), ""), tmp_path / "cache", "cpu")
    assert torch.equal(data.batch(data.train_indices)[0], torch.zeros(len(data.train_indices), 3, 32, 32))
