"""The learning rate as a function of the place in a trial: it needs no state, so a resumed trial cannot lose it."""

from __future__ import annotations

import math

from tuner.training.config import Hyperparameters


def learning_rate(hp: Hyperparameters, position_epochs: float, max_epochs: int, continued_from: int = 0) -> float:
    """The rate after `position_epochs` of `max_epochs`: linear warm-up from 0 to `hp.lr` over `hp.warmup_epochs` (at
    most half of the trial), then a half cosine to 0 at `max_epochs` (Loshchilov & Hutter 2017, "SGDR", eq. 5), or
    constant.

    continued_from: for a trial that was trained to this epoch first and is trained longer now, else 0. Up to there the
    rate is that of the first training; from there a second half cosine falls from `hp.lr`, without a warm-up: a warm
    restart of SGDR. The first one ended at 0, from where nothing would be learned any more.
    """
    if position_epochs < continued_from:
        return learning_rate(hp, position_epochs, continued_from)
    if continued_from:
        return hp.lr if hp.schedule == "constant" else _half_cosine(hp, position_epochs, continued_from, max_epochs)
    warmup_epochs = min(hp.warmup_epochs, max_epochs / 2)
    if position_epochs < warmup_epochs:
        return hp.lr * position_epochs / warmup_epochs
    if hp.schedule == "constant":
        return hp.lr
    return _half_cosine(hp, position_epochs, warmup_epochs, max_epochs)


def _half_cosine(hp: Hyperparameters, position_epochs: float, start_epochs: float, max_epochs: int) -> float:
    progress = (position_epochs - start_epochs) / (max_epochs - start_epochs)
    return hp.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
