"""What one epoch of a trial gave, or why it gave nothing."""

from __future__ import annotations

from dataclasses import dataclass, field


class Diverged(Exception):
    """The training or validation loss of an epoch is not a finite number; the message says which and when."""


@dataclass(frozen=True)
class EpochReport:
    """What one epoch gave. epoch: 1-based. score: the one by which epochs are compared. The losses are mean
    cross-entropies in nats, the training one with label smoothing, class weights and augmentation. seconds: wall time
    with validation. images: training pictures used. waited: epochs since the best score, if the trial ends early for
    that; 0: it does not. scores: all that `objectives.OBJECTIVES` names; empty from a checkpoint of before they were
    kept."""

    epoch: int
    score: float
    val_loss: float
    train_loss: float
    seconds: float
    images: int
    waited: int = 0
    scores: dict[str, float] = field(default_factory=dict)
