"""What one epoch of a trial gave, or why it gave nothing."""

from __future__ import annotations

from dataclasses import dataclass


class Diverged(Exception):
    """The training or validation loss of an epoch is not a finite number; the message says which and when."""


@dataclass(frozen=True)
class EpochReport:
    """What one epoch gave. epoch: 1-based. score: validation accuracy, 0 to 1. The losses are mean cross-entropies in
    nats, the training one with label smoothing and augmentation. seconds: wall time with validation. images: training
    pictures used. waited: epochs since the best score, if the trial ends early for that; 0: it does not."""

    epoch: int
    score: float
    val_loss: float
    train_loss: float
    seconds: float
    images: int
    waited: int = 0
