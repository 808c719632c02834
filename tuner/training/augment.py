"""Per-sample augmentation of a whole batch on its device, in one affine transform and one erasing mask.

Shapes: N pictures of a batch, C channels, H height and W width in pixels. Strength 1 is about the upper end of what
helps small natural pictures; erasing follows Zhong et al. 2020, "Random Erasing Data Augmentation", Algorithm 1, with
the data set's mean as the value. `Moves` are the same movements by their own numbers, as Keras has them, for every
picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tuner.training.config import Hyperparameters

_MAX_ROTATION_RAD = math.radians(20.0)
_MAX_SHIFT = 0.15
_MAX_SHEAR = 0.15
_MAX_ZOOM = 0.2
_BENT_SHARE = 0.5
_ERASE_PROBABILITY = 0.5
_MIN_ERASE_SIDE, _MAX_ERASE_SIDE = 0.1, 0.5

_PADDING = {"reflect": "reflection", "nearest": "border"}


@dataclass(frozen=True)
class Moves:
    """The largest movements of every picture, on top of what a strength adds; each is drawn evenly from - to +.

    rotation_rad: angle. shift: share of the side. shear: how far a side moves along the other, as its share. zoom: of
    the scale, in both directions alike. fill: what is shown from beyond the border, "reflect" or "nearest".
    """

    rotation_rad: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    fill: str = "reflect"

    @classmethod
    def of(cls, hp: Hyperparameters) -> Moves:
        """Those of a configuration."""
        return cls(math.radians(hp.rotation_degrees), hp.shift, hp.shear, hp.zoom, hp.fill)

    @property
    def moves_anything(self) -> bool:
        """Whether any of them is above 0."""
        return max(self.rotation_rad, self.shift, self.shear, self.zoom) > 0


STILL = Moves()


def augment(images: Tensor, strength: float, flip: bool, generator: torch.Generator, moves: Moves = STILL) -> Tensor:
    """Return augmented `images` (float N x C x H x W, normalised so that 0 is the mean); itself if nothing is to do.

    strength: 0 to 1, scales rotation (20 degrees at 1), shift (15 % of the side), shear (0.15), zoom (20 %), and the
        probability (0.5) and largest side (half of the picture) of the erased rectangle.
    flip: mirror half of the pictures.
    generator: on the device of `images`; the only source of randomness.
    moves: what every picture is moved by besides.
    """
    if strength == 0 and not moves.moves_anything:
        return _flip_half(images, generator) if flip else images
    randoms = torch.rand(12, images.shape[0], generator=generator, device=images.device)
    theta = _affine(randoms[:7], images.shape[3], images.shape[2], strength, flip, moves)
    grid = _grid(theta, images.shape[3], images.shape[2])
    padding = _PADDING[moves.fill]
    moved = functional.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)
    if strength > 0:
        moved.masked_fill_(_rectangles(randoms[7:], images.shape[3], images.shape[2], strength), 0.0)
    return moved.contiguous(memory_format=torch.channels_last)


def _grid(theta: Tensor, width: int, height: int) -> Tensor:
    """What `functional.affine_grid` gives: places N x H x W x 2 for matrices N x 2 x 3. On a CPU that one multiplies
    matrices of three columns, which takes longer than all else of an augmentation but the sampling itself."""
    columns = (torch.arange(width, device=theta.device) * 2 + 1) / width - 1
    rows = (torch.arange(height, device=theta.device) * 2 + 1) / height - 1
    along = theta[:, :, 0, None] * columns
    down = theta[:, :, 1, None] * rows + theta[:, :, 2, None]
    return (along[:, :, None, :] + down[:, :, :, None]).permute(0, 2, 3, 1)


def _flip_half(images: Tensor, generator: torch.Generator) -> Tensor:
    mirrored = torch.rand(images.shape[0], 1, 1, 1, generator=generator, device=images.device) < 0.5
    return torch.where(mirrored, images.flip(3), images)


def _affine(randoms: Tensor, width: int, height: int, strength: float, flip: bool, moves: Moves = STILL) -> Tensor:
    """Matrices N x 2 x 3 from places in the result to places in the picture (both -1..1), out of `randoms` (7 x N)."""
    signed = 2 * randoms - 1
    # Half of the pictures are only shifted, by whole pixels: interpolation blurs what validation shows sharp.
    bent = (randoms[5] < _BENT_SHARE).to(signed.dtype) * strength
    angle = signed[0] * (bent * _MAX_ROTATION_RAD + moves.rotation_rad)
    shear = signed[1] * (bent * _MAX_SHEAR + moves.shear)
    scale = 1 / (1 + signed[2] * (bent * _MAX_ZOOM + moves.zoom))
    shift = strength * _MAX_SHIFT + moves.shift
    shift_x = torch.round(signed[3] * shift * width) * (2 / width)
    shift_y = torch.round(signed[4] * shift * height) * (2 / height)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    mirror = torch.where(randoms[6] < 0.5, -1.0, 1.0) if flip else torch.ones_like(scale)
    rows = [cosine * mirror, (shear * cosine - sine), shift_x, sine * mirror, (shear * sine + cosine), shift_y]
    return torch.stack(rows, dim=1).view(-1, 2, 3)


def _rectangles(randoms: Tensor, width: int, height: int, strength: float) -> Tensor:
    """Boolean N x 1 x H x W: what to erase, out of `randoms` (5 x N)."""
    chosen = randoms[0] < _ERASE_PROBABILITY * strength
    sides = (_MIN_ERASE_SIDE + randoms[1:3] * (_MAX_ERASE_SIDE - _MIN_ERASE_SIDE)) * strength
    starts = randoms[3:5] * (1 - sides)
    columns = (torch.arange(width, device=randoms.device) + 0.5) / width
    rows = (torch.arange(height, device=randoms.device) + 0.5) / height
    in_columns = (columns >= starts[0, :, None]) & (columns < (starts[0] + sides[0])[:, None])
    in_rows = (rows >= starts[1, :, None]) & (rows < (starts[1] + sides[1])[:, None])
    return (chosen[:, None, None] & in_rows[:, :, None] & in_columns[:, None, :]).unsqueeze(1)
