"""How much each class's pictures count in the training loss, and nowhere else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from tests.training.trainers import HP, gradient, new_trainer
from tuner.training.classweights import class_weights, training_loss
from tuner.training.data import TrainingData
from tuner.training.loop import TrialTrainer

BALANCED = dataclasses.replace(HP, class_weight="balanced")


@pytest.fixture
def uneven(stripes: TrainingData) -> TrainingData:
    """The stripes with 100 training pictures across and 10 down."""
    across, down = (torch.arange(label, 200, 2) for label in (0, 1))
    return dataclasses.replace(stripes, train_indices=torch.cat([across, down[:10]]).sort().values)


def test_the_weights_are_scikit_learns_of_the_training_pictures_alone(uneven: TrainingData) -> None:
    weights = class_weights("balanced", uneven)
    labels = uneven.labels[uneven.train_indices].numpy()
    assert weights is not None
    assert weights.tolist() == pytest.approx(compute_class_weight("balanced", classes=np.array([0, 1]), y=labels))
    assert weights[labels].mean().item() == pytest.approx(1.0)
    assert class_weights("none", uneven) is None


def test_the_loss_by_hand_with_label_smoothing() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 1.0, 0.0]])
    labels, weights = torch.tensor([0, 2]), torch.tensor([0.5, 1.0, 4.0])
    logs = logits.log_softmax(dim=1)
    smoothed = [0.9 * -logs[0, 0] + 0.1 * -logs[0].mean(), 0.9 * -logs[1, 2] + 0.1 * -logs[1].mean()]
    expected = (0.5 * smoothed[0] + 4.0 * smoothed[1]) / 2
    assert training_loss(logits, labels, weights, 0.1).item() == pytest.approx(expected.item())


def test_balanced_weights_of_balanced_classes_change_nothing(stripes: TrainingData) -> None:
    weighted, plain = (new_trainer(stripes, hp).run_epoch() for hp in (BALANCED, HP))
    assert weighted.scores == pytest.approx(plain.scores, abs=1e-5)
    assert weighted.train_loss == pytest.approx(plain.train_loss, abs=1e-5)


def test_the_loss_of_an_epoch_weighs_the_rare_class_and_the_validation_loss_does_not(uneven: TrainingData) -> None:
    hp = dataclasses.replace(HP, lr=1e-7, warmup_epochs=0, batch_size=110, norm="none", augment=0.0, dropout=0.0)
    plain, weighted = (new_trainer(uneven, dataclasses.replace(hp, class_weight=kind)) for kind in ("none", "balanced"))
    first, second = plain.run_epoch(), weighted.run_epoch()
    assert second.val_loss == pytest.approx(first.val_loss, abs=1e-5)
    images, labels = uneven.batch(uneven.train_indices)
    each = torch.nn.functional.cross_entropy(weighted._model(images).float(), labels, reduction="none")
    means = [each[labels == label].mean().item() for label in (0, 1)]
    assert second.train_loss == pytest.approx(sum(means) / 2, rel=1e-3)
    assert first.train_loss == pytest.approx((100 * means[0] + 10 * means[1]) / 110, rel=1e-3)


@pytest.mark.parametrize("micro_batch", [2, 9, 31])
def test_micro_batches_give_the_gradient_of_the_whole_weighted_batch(uneven, monkeypatch, micro_batch: int) -> None:
    hp = dataclasses.replace(BALANCED, norm="none", dropout=0.0, label_smoothing=0.1, augment=0.5)
    whole = new_trainer(uneven, hp)
    parts = TrialTrainer(hp, uneven, max_epochs=6, seed=0, device="cpu", micro_batch=micro_batch)
    expected = gradient(whole, monkeypatch, 32)
    found = gradient(parts, monkeypatch, 32)
    assert (found - expected).norm() <= 1e-5 * expected.norm()
    plain = gradient(new_trainer(uneven, dataclasses.replace(hp, class_weight="none")), monkeypatch, 32)
    assert (plain - expected).norm() > 0.01 * expected.norm()
