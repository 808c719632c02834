"""Small trials of the stripes, and what they are made to score."""

from __future__ import annotations

import dataclasses

import torch

from tuner.training.config import Hyperparameters
from tuner.training.data import TrainingData
from tuner.training.epoch import EpochReport
from tuner.training.loop import TrialTrainer

HP = Hyperparameters(depth=2, width=8, batch_size=32, dropout=0.1, augment=0.3, lr=0.1)
WAITING = dataclasses.replace(HP, schedule="plateau", plateau_patience=2, plateau_factor=0.1, warmup_epochs=0)


def new_trainer(data: TrainingData, hp: Hyperparameters = HP, max_epochs: int = 6, seed: int = 0) -> TrialTrainer:
    return TrialTrainer(hp, data, max_epochs=max_epochs, seed=seed, device="cpu")


def timeless(report: EpochReport) -> EpochReport:
    return dataclasses.replace(report, seconds=0.0)


def scripted(trainer: TrialTrainer, monkeypatch, scores: list[float]) -> None:
    script = iter(scores)
    monkeypatch.setattr(trainer, "_validate", lambda: {"val_loss": 1.0, trainer._score_name: next(script)})


def rates(trainer: TrialTrainer, monkeypatch) -> list[tuple[int, float]]:
    """Each epoch from now on, and its learning rate."""
    rates: list[tuple[int, float]] = []
    step = trainer._train_step

    def note(indices: torch.Tensor, rate: float) -> torch.Tensor:
        if not rates or rates[-1] != (trainer.epoch + 1, rate):
            rates.append((trainer.epoch + 1, rate))
        return step(indices, rate)

    monkeypatch.setattr(trainer, "_train_step", note)
    return rates


def gradient(trainer: TrialTrainer, monkeypatch, pictures: int) -> torch.Tensor:
    """The gradient of the first step on the first `pictures` training pictures, as one vector."""
    found: list[torch.Tensor] = []

    def note(_: float) -> None:
        found.append(torch.cat([parameter.grad.flatten() for parameter in trainer._model.parameters()]))

    monkeypatch.setattr(trainer._optimizer, "step", note)
    monkeypatch.setattr(trainer, "_bf16", False)
    trainer._train_step(torch.arange(pictures), 0.1)
    return found[0]
