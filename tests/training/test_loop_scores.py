"""By which score a trial compares its epochs, and what it keeps of the others."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.trainers import HP, WAITING, rates, scripted
from tuner.errors import UsageError
from tuner.training import checkpoint
from tuner.training.config import Hyperparameters
from tuner.training.data import TrainingData
from tuner.training.loop import TrialTrainer
from tuner.training.metrics import validation_scores
from tuner.training.objectives import OBJECTIVES


def trainer_for(data: TrainingData, score: str, hp: Hyperparameters = HP, max_epochs: int = 6) -> TrialTrainer:
    return TrialTrainer(hp, data, max_epochs=max_epochs, seed=0, device="cpu", score=score)


@pytest.mark.parametrize("score", OBJECTIVES)
def test_an_epoch_has_all_scores_of_the_validation_pictures_and_the_wanted_one_is_the_score(
    stripes, monkeypatch, score: str
) -> None:
    # Some labels are wrong, so that a good network is not right throughout.
    labels = stripes.labels.clone()
    labels[[201, 204, 206]] = 1 - labels[[201, 204, 206]]
    indices = torch.cat([torch.arange(200, 240, 2), torch.tensor([201, 203, 205, 207])])
    uneven = dataclasses.replace(stripes, labels=labels, val_indices=indices)
    trainer = trainer_for(uneven, score)
    monkeypatch.setattr(trainer, "_bf16", False)
    report = trainer.run_epoch()
    images, truth = uneven.batch(indices)
    with torch.inference_mode():
        logits = trainer._model(images)
    loss = torch.nn.functional.cross_entropy(logits, truth).item()
    expected = validation_scores(truth.numpy(), logits.argmax(dim=1).numpy(), 2, loss)
    assert report.scores == pytest.approx(expected, rel=1e-5)
    assert 0.5 < report.scores["val_balanced_accuracy"] < 1.0, "one that always says the same would tell little"
    assert list(report.scores) == list(OBJECTIVES)
    assert (report.score, report.val_loss) == (report.scores[score], report.scores["val_loss"])


def test_pictures_that_fill_no_evaluation_batch_count_too(stripes: TrainingData) -> None:
    trainer = trainer_for(stripes, "val_accuracy")
    trainer.run_epoch()
    whole = trainer._validate()
    trainer._micro_batch = 7
    assert trainer._validate() == pytest.approx(whole, rel=1e-2)


def test_the_best_weights_are_those_of_the_lowest_loss_and_of_equal_ones_the_later(
    stripes, monkeypatch, tmp_path: Path
) -> None:
    trainer = trainer_for(stripes, "val_loss")
    script = iter([0.9, 0.4, 0.4, 0.7])
    monkeypatch.setattr(trainer, "_validate", lambda: {"val_accuracy": 0.5, "val_loss": next(script)})
    for _ in range(4):
        trainer.run_epoch()
    best = trainer.save(tmp_path).best
    assert (best.epoch, best.score) == (3, 0.4)
    assert checkpoint.read(best).state["scores"] == {"val_accuracy": 0.5, "val_loss": 0.4}


def test_a_restored_trial_goes_on_with_its_best_loss_and_knows_its_other_scores(stripes, tmp_path: Path) -> None:
    straight = trainer_for(stripes, "val_loss")
    for _ in range(2):
        straight.run_epoch()
    saved = straight.save(tmp_path / "first")
    again = trainer_for(stripes, "val_loss")
    again.restore(saved.last)
    assert again.save(tmp_path / "second").best.sha256 == saved.best.sha256
    scripted_straight, scripted_again = straight.run_epoch(), again.run_epoch()
    assert dataclasses.replace(scripted_again, seconds=0.0) == dataclasses.replace(scripted_straight, seconds=0.0)
    assert again.save(tmp_path / "third").best == dataclasses.replace(
        straight.save(tmp_path / "fourth").best, path=again.save(tmp_path / "third").best.path
    )


def test_a_checkpoint_of_before_there_were_other_scores_is_gone_on_with(stripes, monkeypatch, tmp_path: Path) -> None:
    trainer = trainer_for(stripes, "val_accuracy")
    trainer.run_epoch()
    write = checkpoint.write

    def as_before(folder, kind, tensors, state, epoch, score):
        state = {key: value for key, value in state.items() if key != "scores" or kind == "epoch"}
        if kind == "epoch":
            state["report"] = {key: value for key, value in state["report"].items() if key != "scores"}
        del state["hyperparameters"]["class_weight"]
        return write(folder, kind, tensors, state, epoch, score)

    with monkeypatch.context() as old:
        old.setattr(checkpoint, "write", as_before)
        saved = trainer.save(tmp_path)
    again = trainer_for(stripes, "val_accuracy")
    again.restore(saved.last)
    assert again.run_epoch().score == trainer.run_epoch().score


def test_a_trial_waits_for_a_lower_loss(stripes, monkeypatch) -> None:
    hp = dataclasses.replace(HP, stop_patience=2)
    trainer = trainer_for(stripes, "val_loss", hp, max_epochs=9)
    scripted(trainer, monkeypatch, [0.9, 0.5, 0.8, 0.6])
    assert [trainer.run_epoch().waited for _ in range(4)] == [0, 0, 0, 2]


def test_the_rate_falls_where_the_loss_does_not(stripes, monkeypatch) -> None:
    trainer = trainer_for(stripes, "val_loss", dataclasses.replace(WAITING, lr=0.01))
    seen = rates(trainer, monkeypatch)
    scripted(trainer, monkeypatch, [0.9, 0.8, 0.7, 0.75, 0.9, 0.1])
    for _ in range(6):
        trainer.run_epoch()
    assert seen == [(epoch, pytest.approx(rate)) for epoch, rate in enumerate([0.01] * 5 + [0.001], start=1)]


def test_an_unknown_score_is_refused_by_name(stripes: TrainingData) -> None:
    with pytest.raises(UsageError, match="objective = 'f1' is not known: it must be one of val_accuracy, val_balanced"):
        trainer_for(stripes, "f1")


def test_the_labels_are_read_as_they_are(stripes: TrainingData) -> None:
    flipped = dataclasses.replace(stripes, labels=1 - stripes.labels)
    trainer = trainer_for(stripes, "val_accuracy")
    trainer.run_epoch()
    right = trainer._validate()
    trainer._data = flipped
    wrong = trainer._validate()
    assert np.isclose(right["val_accuracy"] + wrong["val_accuracy"], 1.0)
