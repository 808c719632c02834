"""The learning rate, and when a trial ends early, as functions of the place in a trial and of its scores so far.

They keep no state of their own, so a resumed trial cannot lose any: it only has to know its scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.training.config import Hyperparameters


@dataclass(frozen=True)
class Plateaus:
    """What a row of scores says about plateaus.

    best_epoch: 1-based, of the first of the best scores; 0 for no scores. waited: epochs since then. count:
    how often `patience` epochs in a row went by without a score better than all before; after each the waiting starts
    anew.
    """

    best_epoch: int
    waited: int
    count: int


def plateaus(scores: Sequence[float], patience: int, sign: float = 1.0) -> Plateaus:
    """Walk through `scores`, of epochs 1, 2, ... sign: 1.0 if more is better, -1.0 if less is."""
    best_epoch, count, row = 0, 0, 0
    for epoch, score in enumerate(scores, start=1):
        if not best_epoch or sign * score > sign * scores[best_epoch - 1]:
            best_epoch, row = epoch, 0
            continue
        row += 1
        if row == patience:
            count, row = count + 1, 0
    return Plateaus(best_epoch, len(scores) - best_epoch, count)


def learning_rate(
    hp: Hyperparameters, position_epochs: float, max_epochs: int, continued_from: int = 0, plateaus_seen: int = 0
) -> float:
    """The rate after `position_epochs` of `max_epochs`: linear warm-up from 0 to `hp.lr` over `hp.warmup_epochs` (at
    most half of the trial), then by `hp.schedule`

    cosine: a half cosine to 0 at `max_epochs` (Loshchilov & Hutter 2017, "SGDR", eq. 5);
    constant: `hp.lr`;
    exponential: `hp.lr` times `hp.lr_decay` to the power of the epochs since the warm-up;
    plateau: `hp.lr` times `hp.plateau_factor` to the power of `plateaus_seen`.

    continued_from: for a trial that was trained to this epoch first and is trained longer now, else 0. Up to there the
    rate is that of the first training; from there a second half cosine falls from `hp.lr`, without a warm-up: a warm
    restart of SGDR. The first one ended at 0, from where nothing would be learned any more. The other schedules, which
    do not know where they end, go on as they were.
    """
    if position_epochs < continued_from:
        return learning_rate(hp, position_epochs, continued_from, plateaus_seen=plateaus_seen)
    warmup_epochs = min(hp.warmup_epochs, (continued_from or max_epochs) / 2)
    if position_epochs < warmup_epochs:
        return hp.lr * position_epochs / warmup_epochs
    if hp.schedule == "constant":
        return hp.lr
    if hp.schedule == "exponential":
        return hp.lr * math.pow(hp.lr_decay, position_epochs - warmup_epochs)
    if hp.schedule == "plateau":
        return hp.lr * hp.plateau_factor**plateaus_seen
    return _half_cosine(hp, position_epochs, continued_from or warmup_epochs, max_epochs)


def _half_cosine(hp: Hyperparameters, position_epochs: float, start_epochs: float, max_epochs: int) -> float:
    progress = (position_epochs - start_epochs) / (max_epochs - start_epochs)
    return hp.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
