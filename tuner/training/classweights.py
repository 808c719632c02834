"""How much the pictures of each class count in the training loss.

Shapes: T training pictures, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tuner.training.data import TrainingData


def class_weights(kind: str, data: TrainingData) -> Tensor | None:
    """Float32 K, on the data's device: what each class's pictures count under the hyperparameter `class_weight`; None:
    all the same.

    balanced: T / (K n_c), n_c being the training pictures of class c, as scikit-learn's `class_weight="balanced"` has
    it (after King & Zeng 2001, "Logistic Regression in Rare Events Data"): each class counts T / K pictures in all, and
    the mean of all pictures' weights is 1, so that a learning rate means what it did.
    """
    if kind == "none":
        return None
    classes = len(data.info.classes)
    counts = torch.bincount(data.labels[data.train_indices], minlength=classes)
    # Of a class without training pictures the weight is never asked for.
    return len(data.train_indices) / (classes * counts.clamp(min=1).to(torch.float32))


def training_loss(logits: Tensor, labels: Tensor, weights: Tensor | None, label_smoothing: float) -> Tensor:
    """Mean cross-entropy of the pictures, in nats, each times its class's weight.

    The mean is over the number of pictures, not over the sum of the weights that a batch happens to have (which is what
    `torch.nn.CrossEntropyLoss(weight=...)` divides by): a picture then counts the same in any company, the mean
    gradient of the batches is that of all pictures, and parts of a batch add up to it. With label smoothing the weight
    of the picture's own class is that of its whole loss. torch would weight each smoothed class by itself, and so pull
    every picture towards the rarest.
    """
    if weights is None:
        return functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    each = functional.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
    return (each * weights[labels]).mean()
