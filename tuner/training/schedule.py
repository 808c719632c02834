"""The learning rate as a function of the place in a trial: it needs no state, so a resumed trial cannot lose it."""

from __future__ import annotations

import math

from tuner.training.config import Hyperparameters


def learning_rate(hp: Hyperparameters, position_epochs: float, max_epochs: int) -> float:
    """The rate after `position_epochs` of `max_epochs`: linear warm-up from 0 to `hp.lr` over `hp.warmup_epochs` (at
    most half of the trial), then a half cosine to 0 at `max_epochs` (Loshchilov & Hutter 2017, "SGDR", eq. 5, without
    restarts), or constant."""
    warmup_epochs = min(hp.warmup_epochs, max_epochs / 2)
    if position_epochs < warmup_epochs:
        return hp.lr * position_epochs / warmup_epochs
    if hp.schedule == "constant":
        return hp.lr
    progress = (position_epochs - warmup_epochs) / (max_epochs - warmup_epochs)
    return hp.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
