"""What a trial saves, and how it goes on from that."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import pytest
import torch

from tests.training.trainers import HP, WAITING, new_trainer, rates, scripted, timeless
from tuner.errors import CheckpointError
from tuner.training import checkpoint
from tuner.training.checkpoint_ref import CheckpointRef
from tuner.training.config import Hyperparameters
from tuner.training.data import TrainingData
from tuner.training.loop import TrialTrainer
from tuner.training.models import build


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_restored_trial_goes_on_bit_for_bit(stripes, tmp_path: Path, optimizer: str, stop_after: int) -> None:
    hp = dataclasses.replace(HP, optimizer=optimizer, lr=0.01)
    whole = new_trainer(stripes, hp)
    expected = [timeless(whole.run_epoch()) for _ in range(5)]
    first = new_trainer(stripes, hp)
    for _ in range(stop_after):
        first.run_epoch()
    saved = first.save(tmp_path)
    second = new_trainer(stripes, hp, seed=99)
    second.restore(CheckpointRef.from_dict(saved.last.as_dict()))
    assert second.epoch == stop_after
    assert [timeless(second.run_epoch()) for _ in range(5 - stop_after)] == expected[stop_after:]
    one, two = whole.save(tmp_path / "whole"), second.save(tmp_path / "resumed")
    tensors_one, tensors_two = checkpoint.read(one.last).tensors, checkpoint.read(two.last).tensors
    assert tensors_one.keys() == tensors_two.keys()
    assert all(torch.equal(tensor, tensors_two[name]) for name, tensor in tensors_one.items())
    assert (one.best.sha256, one.best.epoch, one.best.score) == (two.best.sha256, two.best.epoch, two.best.score)


def test_the_best_epoch_is_the_last_with_the_highest_score_and_files_of_two_saves_stay(
    stripes: TrainingData, tmp_path: Path, monkeypatch
) -> None:
    trainer = new_trainer(stripes)
    scripted(trainer, monkeypatch, [0.5, 0.7, 0.6, 0.7, 0.8])
    listings, bests = [], []
    for _ in range(5):
        trainer.run_epoch()
        bests.append(trainer.save(tmp_path).best.epoch)
        listings.append(sorted(name.removesuffix(".safetensors") for name in os.listdir(tmp_path)))
    assert bests == [1, 2, 2, 4, 5]
    assert listings == [
        ["best-0001", "epoch-0001"],
        ["best-0001", "best-0002", "epoch-0001", "epoch-0002"],
        ["best-0002", "epoch-0002", "epoch-0003"],
        ["best-0002", "best-0004", "epoch-0003", "epoch-0004"],
        ["best-0004", "best-0005", "epoch-0004", "epoch-0005"],
    ]


def test_saving_an_epoch_twice_keeps_the_epoch_before(stripes: TrainingData, tmp_path: Path) -> None:
    trainer = new_trainer(stripes)
    trainer.run_epoch()
    first = trainer.save(tmp_path)
    trainer.run_epoch()
    assert trainer.save(tmp_path) == trainer.save(tmp_path)
    checkpoint.read(first.last)


def test_a_restored_trial_keeps_the_files_it_came_from_until_the_save_after_next(
    stripes: TrainingData, tmp_path: Path, monkeypatch
) -> None:
    trainer = new_trainer(stripes)
    scripted(trainer, monkeypatch, [0.9, 0.5, 0.5])
    for _ in range(3):
        trainer.run_epoch()
        saved = trainer.save(tmp_path)
        if trainer.epoch == 2:
            journalled = saved.last
    # The driver never heard of epoch 3: the trial goes on from epoch 2, and epoch 3 must not push that out.
    again = new_trainer(stripes)
    again.restore(journalled)
    scripted(again, monkeypatch, [0.5, 0.5])
    again.run_epoch()
    again.save(tmp_path)
    checkpoint.read(journalled)
    again.run_epoch()
    final = again.save(tmp_path)
    assert not Path(journalled.path).exists()
    assert (final.best.epoch, final.best.score) == (1, 0.9)
    checkpoint.read(final.best)


def test_a_trial_continued_in_another_folder_takes_its_best_weights_along(
    stripes: TrainingData, tmp_path: Path, monkeypatch
) -> None:
    trainer = new_trainer(stripes)
    scripted(trainer, monkeypatch, [0.9])
    trainer.run_epoch()
    first = trainer.save(tmp_path / "one")
    longer = new_trainer(stripes, max_epochs=12)
    longer.restore(first.last)
    scripted(longer, monkeypatch, [0.5])
    longer.run_epoch()
    second = longer.save(tmp_path / "two")
    assert (second.best.epoch, second.best.sha256) == (1, first.best.sha256)
    assert Path(second.best.path).parent == tmp_path / "two"
    checkpoint.read(first.last)


def test_checkpoints_that_moved_together_are_restored(stripes: TrainingData, tmp_path: Path) -> None:
    trainer = new_trainer(stripes)
    trainer.run_epoch()
    last = trainer.save(tmp_path / "here").last
    shutil.move(tmp_path / "here", tmp_path / "there")
    again = new_trainer(stripes)
    again.restore(dataclasses.replace(last, path=last.path.replace("/here/", "/there/")))
    assert again.epoch == 1


def test_a_trial_trained_longer_is_a_trial_of_its_own_that_starts_from_the_last_state(
    stripes: TrainingData, tmp_path: Path, monkeypatch
) -> None:
    origin = new_trainer(stripes, max_epochs=2)
    scripted(origin, monkeypatch, [0.9, 0.8])
    for _ in range(2):
        origin.run_epoch()
    saved = origin.save(tmp_path / "origin")
    assert saved.best.epoch == 1
    Path(saved.best.path).unlink()  # the weights of the origin's best epoch are not needed
    longer = TrialTrainer(HP, stripes, max_epochs=4, seed=1, device="cpu", continued_from=2)
    longer.restore(saved.last)
    weights = checkpoint.read(saved.last).group("model")
    assert all(torch.equal(weights[name], tensor) for name, tensor in longer._model.state_dict().items())
    scripted(longer, monkeypatch, [0.6, 0.5])
    assert longer.run_epoch().epoch == 3
    third = longer.save(tmp_path / "longer")
    assert (third.best.epoch, third.best.score) == (3, 0.6)
    again = TrialTrainer(HP, stripes, max_epochs=4, seed=1, device="cpu", continued_from=2)
    again.restore(third.last)
    scripted(again, monkeypatch, [0.5])
    again.run_epoch()
    assert again.save(tmp_path / "again").best.epoch == 3


def test_a_resumed_trial_remembers_its_scores_and_lowers_its_rate_at_the_same_epochs(
    stripes: TrainingData, tmp_path: Path, monkeypatch
) -> None:
    scores = [0.5, 0.6, 0.6, 0.5, 0.7, 0.6, 0.6, 0.6]
    whole = new_trainer(stripes, WAITING, max_epochs=8)
    scripted(whole, monkeypatch, scores)
    expected = rates(whole, monkeypatch)
    for _ in scores:
        whole.run_epoch()
    assert [rate for _, rate in expected] == pytest.approx([0.1] * 4 + [0.01] * 3 + [0.001])
    for stop_after in (1, 3, 4, 6):
        first = new_trainer(stripes, WAITING, max_epochs=8)
        scripted(first, monkeypatch, scores)
        for _ in range(stop_after):
            first.run_epoch()
        second = new_trainer(stripes, WAITING, max_epochs=8)
        second.restore(first.save(tmp_path / str(stop_after)).last)
        scripted(second, monkeypatch, scores[stop_after:])
        found = rates(second, monkeypatch)
        for _ in scores[stop_after:]:
            second.run_epoch()
        assert found == expected[stop_after:]


def test_a_trial_ends_early_after_its_patience_resumed_or_not_but_not_at_its_last_epoch(
    stripes: TrainingData, tmp_path: Path, monkeypatch
) -> None:
    hp = dataclasses.replace(HP, stop_patience=2)
    trainer = new_trainer(stripes, hp, max_epochs=5)
    scripted(trainer, monkeypatch, [0.5, 0.7, 0.7])
    assert [trainer.run_epoch().waited for _ in range(3)] == [0, 0, 0]
    again = new_trainer(stripes, hp, max_epochs=5)
    again.restore(trainer.save(tmp_path).last)
    scripted(again, monkeypatch, [0.6])
    assert again.run_epoch().waited == 2
    last = new_trainer(stripes, hp, max_epochs=4)
    last.restore(trainer.save(tmp_path).last)
    scripted(last, monkeypatch, [0.6])
    assert last.run_epoch().waited == 0


def test_a_trial_trained_longer_is_not_judged_by_the_best_of_the_one_before(
    stripes: TrainingData, tmp_path: Path, monkeypatch
) -> None:
    hp = dataclasses.replace(HP, stop_patience=2)
    origin = new_trainer(stripes, hp, max_epochs=2)
    scripted(origin, monkeypatch, [0.9, 0.8])
    for _ in range(2):
        origin.run_epoch()
    longer = TrialTrainer(hp, stripes, max_epochs=9, seed=0, device="cpu", continued_from=2)
    longer.restore(origin.save(tmp_path).last)
    scripted(longer, monkeypatch, [0.5, 0.4, 0.3])
    assert [longer.run_epoch().waited for _ in range(3)] == [0, 0, 2]


def test_a_checkpoint_from_before_a_hyperparameter_existed_is_its_own_trials(
    stripes: TrainingData, tmp_path: Path
) -> None:
    trainer = new_trainer(stripes)
    trainer.run_epoch()
    full = checkpoint.read(trainer.save(tmp_path).last)
    old = {key: value for key, value in full.state.items() if key != "scores"}
    old["hyperparameters"] = {key: value for key, value in HP.as_dict().items() if key not in ("l1", "stop_patience")}
    old["report"] = {key: value for key, value in full.state["report"].items() if key != "waited"}
    written = checkpoint.write(tmp_path, "epoch", full.tensors, old, 1, full.state["score"])
    again = new_trainer(stripes)
    again.restore(written)
    assert timeless(again.run_epoch()) == timeless(trainer.run_epoch())


def test_a_trial_trained_longer_learns_more(stripes: TrainingData, tmp_path: Path) -> None:
    hp = dataclasses.replace(HP, lr=0.01)
    origin = new_trainer(stripes, hp, max_epochs=1)
    first = origin.run_epoch()
    saved = origin.save(tmp_path)
    longer = TrialTrainer(hp, stripes, max_epochs=5, seed=0, device="cpu", continued_from=1)
    longer.restore(saved.last)
    last = [longer.run_epoch() for _ in range(4)][-1]
    assert last.val_loss < 0.9 * first.val_loss


def test_a_checkpoint_of_another_configuration_is_refused(stripes: TrainingData, tmp_path: Path) -> None:
    trainer = new_trainer(stripes)
    trainer.run_epoch()
    saved = trainer.save(tmp_path)
    for ref, hp in ((saved.last, dataclasses.replace(HP, lr=0.2)), (saved.best, HP)):
        with pytest.raises(CheckpointError, match="belongs to another configuration"):
            new_trainer(stripes, hp).restore(ref)


def test_the_best_file_rebuilds_the_network_that_scored(stripes: TrainingData, tmp_path: Path) -> None:
    trainer = new_trainer(stripes)
    report = trainer.run_epoch()
    best = checkpoint.read(trainer.save(tmp_path).best)
    assert best.state == {
        "hyperparameters": HP.as_dict(),
        "input": {"height": 8, "width": 8, "channels": 1},
        "classes": ["across", "down"],
        "mean": [125.0],
        "std": [75.0],
        "format": 1,
        "kind": "best",
        "epoch": 1,
        "score": report.score,
        "scores": report.scores,
    }
    model = build(Hyperparameters.from_params(best.state["hyperparameters"]), (1, 8, 8), 2).eval()
    model.load_state_dict(best.group("model"))
    images, labels = stripes.batch(stripes.val_indices)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=trainer._bf16):
        hits = (model(images).argmax(1) == labels).sum().item()
    assert hits / len(labels) == report.score
