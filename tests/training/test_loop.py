"""One trial's training: what an epoch does, and what it refuses."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.training.trainers import HP, gradient, new_trainer, timeless
from tuner.training import loop as module
from tuner.training.config import Hyperparameters
from tuner.training.data import TrainingData
from tuner.training.epoch import Diverged
from tuner.training.loop import TrialTrainer


def test_a_small_net_learns(stripes: TrainingData) -> None:
    trainer = new_trainer(stripes)
    reports = [trainer.run_epoch() for _ in range(6)]
    assert [report.epoch for report in reports] == [1, 2, 3, 4, 5, 6]
    assert reports[-1].score >= 0.95
    assert reports[-1].val_loss < reports[0].val_loss
    assert {report.images for report in reports} == {192}


def test_the_same_seed_gives_the_same_epochs_and_another_seed_others(stripes: TrainingData) -> None:
    trainers = [new_trainer(stripes, seed=seed) for seed in (0, 0, 1)]
    runs = [[timeless(trainer.run_epoch()) for _ in range(2)] for trainer in trainers]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_a_diverged_loss_is_never_a_score(stripes: TrainingData) -> None:
    trainer = new_trainer(
        stripes, Hyperparameters(depth=3, width=8, batch_size=2, norm="none", lr=1e6, warmup_epochs=0)
    )
    with pytest.raises(Diverged, match=r"the (training|validation) loss is (nan|inf) at epoch 1"):
        trainer.run_epoch()
    assert trainer.epoch == 0


def test_a_validation_loss_that_is_not_finite_is_diverged_too(stripes: TrainingData, monkeypatch) -> None:
    trainer = new_trainer(stripes)
    monkeypatch.setattr(trainer, "_validate", lambda: {"val_accuracy": 0.9, "val_loss": float("nan")})
    with pytest.raises(Diverged, match="the validation loss is nan at epoch 1"):
        trainer.run_epoch()


def test_running_out_of_memory_is_passed_on_as_torch_raises_it(stripes: TrainingData, monkeypatch) -> None:
    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    trainer = new_trainer(stripes)
    monkeypatch.setattr(module, "augment", exhausted)
    with pytest.raises(torch.OutOfMemoryError):
        trainer.run_epoch()


def test_pictures_that_fill_no_batch_are_left_out_unless_there_is_none_full(stripes: TrainingData) -> None:
    for batch_size, images in ((128, 128), (200, 200), (512, 200)):
        trainer = new_trainer(stripes, dataclasses.replace(HP, batch_size=batch_size))
        assert trainer.run_epoch().images == images


@pytest.mark.parametrize(
    ("choice", "keeps_class", "flips"),
    [("auto", False, False), ("auto", True, True), ("on", False, True), ("off", True, False)],
)
def test_flips_follow_the_data_set_unless_told(stripes, monkeypatch, choice, keeps_class, flips) -> None:
    seen: set[bool] = set()

    def note(images, strength, flip, generator, moves):
        seen.add(flip)
        return images

    monkeypatch.setattr(module, "augment", note)
    data = dataclasses.replace(stripes, info=dataclasses.replace(stripes.info, flip=keeps_class))
    new_trainer(data, dataclasses.replace(HP, flip=choice)).run_epoch()
    assert seen == {flips}


def test_the_training_loop_reads_no_value_from_the_device_within_an_epoch(stripes: TrainingData, monkeypatch) -> None:
    reads: list[int] = []
    item = torch.Tensor.item
    monkeypatch.setattr(torch.Tensor, "item", lambda tensor: (reads.append(1), item(tensor))[1])
    new_trainer(stripes, dataclasses.replace(HP, batch_size=8, optimizer="sgd")).run_epoch()
    assert len(reads) <= 3


@pytest.mark.parametrize("micro_batch", [2, 8, 10, 31])
def test_micro_batches_give_the_gradient_of_the_whole_batch(stripes, monkeypatch, micro_batch: int) -> None:
    hp = dataclasses.replace(HP, norm="none", dropout=0.0, label_smoothing=0.1, augment=0.5)
    whole = new_trainer(stripes, hp)
    parts = TrialTrainer(hp, stripes, max_epochs=6, seed=0, device="cpu", micro_batch=micro_batch)
    expected = gradient(whole, monkeypatch, 32)
    found = gradient(parts, monkeypatch, 32)
    assert (found - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize(("batch_size", "largest"), [(32, 8), (35, 9), (15, 15)])
def test_no_more_than_a_micro_batch_goes_through_the_network_and_never_one_picture_alone(
    stripes, batch_size: int, largest: int
) -> None:
    hp = dataclasses.replace(HP, batch_size=batch_size)
    trainer = TrialTrainer(hp, stripes, max_epochs=1, seed=0, device="cpu", micro_batch=8)
    seen: set[int] = set()
    trainer._model.register_forward_pre_hook(lambda _, arguments: seen.add(len(arguments[0])))
    assert trainer.run_epoch().images == 200 // batch_size * batch_size
    assert (min(seen), max(seen)) == (8, largest)
