"""A contact sheet: the same pictures under augmentation of several strengths, as training would see them.

Shapes: N pictures, C channels, H height and W width in pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from tuner.training.augment import augment
from tuner.training.data import TrainingData

STRENGTHS = (0.0, 0.25, 0.5, 1.0)

_ROWS, _DRAWS = 8, 4
_CELL, _LARGEST_CELL = 64, 128
_GAP, _BETWEEN, _TITLE = 2, 14, 24


def contact_sheet(data: TrainingData, *, seed: int = 0) -> Image.Image:
    """A row for each of up to 8 training pictures (of different classes as far as there are), a block of 4 columns for
    each strength 0, 0.25, 0.5 and 1, every cell drawn anew; mirrored where the data set allows it.

    The same data, seed and device give the same sheet.
    """
    rows = _chosen(data, seed)
    images, _ = data.batch(rows)
    generator = torch.Generator(data.device).manual_seed(seed)
    side = min(data.info.height * max(1, round(_CELL / data.info.height)), _LARGEST_CELL)
    # Small pictures are enlarged by whole numbers and stay sharp; large ones shrink.
    resampling = Image.Resampling.NEAREST if side >= data.info.height else Image.Resampling.BILINEAR
    block = _DRAWS * (side + _GAP) + _BETWEEN
    sheet = Image.new("RGB", (len(STRENGTHS) * block - _BETWEEN + _GAP, _TITLE + len(rows) * (side + _GAP)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for column, strength in enumerate(STRENGTHS):
        draw.text((_GAP + column * block, 4), f"augment = {strength:g}", fill="black", font=font)
        for attempt in range(_DRAWS):
            pixels = _to_pixels(augment(images.clone(), strength, data.info.flip, generator), data)
            for row, picture in enumerate(pixels):
                cell = Image.fromarray(picture).resize((side, side), resampling)
                sheet.paste(cell, (_GAP + column * block + attempt * (side + _GAP), _TITLE + row * (side + _GAP)))
    return sheet


def _chosen(data: TrainingData, seed: int) -> Tensor:
    """Indices of training pictures: of each class one, of the first again one, and so on."""
    order = np.random.RandomState(seed).permutation(data.train_indices.cpu().numpy())
    labels = data.labels.cpu().numpy()[order]
    rank = np.zeros(len(order), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members] = np.arange(len(members))
    return torch.from_numpy(order[np.lexsort((labels, rank))][:_ROWS]).to(data.device)


def _to_pixels(images: Tensor, data: TrainingData) -> NDArray[np.uint8]:
    """Normalised N x C x H x W to uint8 N x H x W x 3."""
    values = images * data.std.view(1, -1, 1, 1) + data.mean.view(1, -1, 1, 1)
    pixels = values.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:3], 3)))
