from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import pytest
import torch

from tuner.errors import CheckpointError
from tuner.training import checkpoint
from tuner.training import loop as module
from tuner.training.checkpoint_ref import CheckpointRef
from tuner.training.config import Hyperparameters
from tuner.training.data import TrainingData
from tuner.training.epoch import Diverged, EpochReport
from tuner.training.loop import TrialTrainer
from tuner.training.models import build

_HP = Hyperparameters(depth=2, width=8, batch_size=32, dropout=0.1, augment=0.3, lr=0.1)


def _trainer(data: TrainingData, hp: Hyperparameters = _HP, max_epochs: int = 6, seed: int = 0) -> TrialTrainer:
    return TrialTrainer(hp, data, max_epochs=max_epochs, seed=seed, device="cpu")


def _timeless(report: EpochReport) -> EpochReport:
    return dataclasses.replace(report, seconds=0.0)


def test_a_small_net_learns(stripes: TrainingData) -> None:
    trainer = _trainer(stripes)
    reports = [trainer.run_epoch() for _ in range(6)]
    assert [report.epoch for report in reports] == [1, 2, 3, 4, 5, 6]
    assert reports[-1].score >= 0.95
    assert reports[-1].val_loss < reports[0].val_loss
    assert {report.images for report in reports} == {192}


def test_the_same_seed_gives_the_same_epochs_and_another_seed_others(stripes: TrainingData) -> None:
    trainers = [_trainer(stripes, seed=seed) for seed in (0, 0, 1)]
    runs = [[_timeless(trainer.run_epoch()) for _ in range(2)] for trainer in trainers]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_restored_trial_goes_on_bit_for_bit(stripes, tmp_path: Path, optimizer: str, stop_after: int) -> None:
    hp = dataclasses.replace(_HP, optimizer=optimizer, lr=0.01)
    whole = _trainer(stripes, hp)
    expected = [_timeless(whole.run_epoch()) for _ in range(5)]
    first = _trainer(stripes, hp)
    for _ in range(stop_after):
        first.run_epoch()
    saved = first.save(tmp_path)
    second = _trainer(stripes, hp, seed=99)
    second.restore(CheckpointRef.from_dict(saved.last.as_dict()))
    assert second.epoch == stop_after
    assert [_timeless(second.run_epoch()) for _ in range(5 - stop_after)] == expected[stop_after:]
    one, two = whole.save(tmp_path / "whole"), second.save(tmp_path / "resumed")
    tensors_one, tensors_two = checkpoint.read(one.last).tensors, checkpoint.read(two.last).tensors
    assert tensors_one.keys() == tensors_two.keys()
    assert all(torch.equal(tensor, tensors_two[name]) for name, tensor in tensors_one.items())
    assert (one.best.sha256, one.best.epoch, one.best.score) == (two.best.sha256, two.best.epoch, two.best.score)


def test_a_diverged_loss_is_never_a_score(stripes: TrainingData) -> None:
    trainer = _trainer(stripes, Hyperparameters(depth=3, width=8, batch_size=2, norm="none", lr=1e6, warmup_epochs=0))
    with pytest.raises(Diverged, match=r"the (training|validation) loss is (nan|inf) at epoch 1"):
        trainer.run_epoch()
    assert trainer.epoch == 0


def test_a_validation_loss_that_is_not_finite_is_diverged_too(stripes: TrainingData, monkeypatch) -> None:
    trainer = _trainer(stripes)
    monkeypatch.setattr(trainer, "_validate", lambda: (0.9, float("nan")))
    with pytest.raises(Diverged, match="the validation loss is nan at epoch 1"):
        trainer.run_epoch()


def test_running_out_of_memory_is_passed_on_as_torch_raises_it(stripes: TrainingData, monkeypatch) -> None:
    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    trainer = _trainer(stripes)
    monkeypatch.setattr(module, "augment", exhausted)
    with pytest.raises(torch.OutOfMemoryError):
        trainer.run_epoch()


def _scripted(trainer: TrialTrainer, monkeypatch, scores: list[float]) -> None:
    script = iter(scores)
    monkeypatch.setattr(trainer, "_validate", lambda: (next(script), 1.0))


def test_the_best_epoch_is_the_last_with_the_highest_score_and_files_of_two_saves_stay(
    stripes: TrainingData, tmp_path: Path, monkeypatch
) -> None:
    trainer = _trainer(stripes)
    _scripted(trainer, monkeypatch, [0.5, 0.7, 0.6, 0.7, 0.8])
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
    trainer = _trainer(stripes)
    trainer.run_epoch()
    first = trainer.save(tmp_path)
    trainer.run_epoch()
    assert trainer.save(tmp_path) == trainer.save(tmp_path)
    checkpoint.read(first.last)


def test_a_restored_trial_keeps_the_files_it_came_from_until_the_save_after_next(
    stripes: TrainingData, tmp_path: Path, monkeypatch
) -> None:
    trainer = _trainer(stripes)
    _scripted(trainer, monkeypatch, [0.9, 0.5, 0.5])
    for _ in range(3):
        trainer.run_epoch()
        saved = trainer.save(tmp_path)
        if trainer.epoch == 2:
            journalled = saved.last
    # The driver never heard of epoch 3: the trial goes on from epoch 2, and epoch 3 must not push that out.
    again = _trainer(stripes)
    again.restore(journalled)
    _scripted(again, monkeypatch, [0.5, 0.5])
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
    trainer = _trainer(stripes)
    _scripted(trainer, monkeypatch, [0.9])
    trainer.run_epoch()
    first = trainer.save(tmp_path / "one")
    longer = _trainer(stripes, max_epochs=12)
    longer.restore(first.last)
    _scripted(longer, monkeypatch, [0.5])
    longer.run_epoch()
    second = longer.save(tmp_path / "two")
    assert (second.best.epoch, second.best.sha256) == (1, first.best.sha256)
    assert Path(second.best.path).parent == tmp_path / "two"
    checkpoint.read(first.last)


def test_checkpoints_that_moved_together_are_restored(stripes: TrainingData, tmp_path: Path) -> None:
    trainer = _trainer(stripes)
    trainer.run_epoch()
    last = trainer.save(tmp_path / "here").last
    shutil.move(tmp_path / "here", tmp_path / "there")
    again = _trainer(stripes)
    again.restore(dataclasses.replace(last, path=last.path.replace("/here/", "/there/")))
    assert again.epoch == 1


def test_a_trial_trained_longer_is_a_trial_of_its_own_that_starts_from_the_last_state(
    stripes: TrainingData, tmp_path: Path, monkeypatch
) -> None:
    origin = _trainer(stripes, max_epochs=2)
    _scripted(origin, monkeypatch, [0.9, 0.8])
    for _ in range(2):
        origin.run_epoch()
    saved = origin.save(tmp_path / "origin")
    assert saved.best.epoch == 1
    Path(saved.best.path).unlink()  # the weights of the origin's best epoch are not needed
    longer = TrialTrainer(_HP, stripes, max_epochs=4, seed=1, device="cpu", continued_from=2)
    longer.restore(saved.last)
    weights = checkpoint.read(saved.last).group("model")
    assert all(torch.equal(weights[name], tensor) for name, tensor in longer._model.state_dict().items())
    _scripted(longer, monkeypatch, [0.6, 0.5])
    assert longer.run_epoch().epoch == 3
    third = longer.save(tmp_path / "longer")
    assert (third.best.epoch, third.best.score) == (3, 0.6)
    again = TrialTrainer(_HP, stripes, max_epochs=4, seed=1, device="cpu", continued_from=2)
    again.restore(third.last)
    _scripted(again, monkeypatch, [0.5])
    again.run_epoch()
    assert again.save(tmp_path / "again").best.epoch == 3


_WAITING = dataclasses.replace(_HP, schedule="plateau", plateau_patience=2, plateau_factor=0.1, warmup_epochs=0)


def _rates(trainer: TrialTrainer, monkeypatch) -> list[tuple[int, float]]:
    """Each epoch from now on, and its learning rate."""
    rates: list[tuple[int, float]] = []
    step = trainer._train_step

    def note(indices: torch.Tensor, rate: float) -> torch.Tensor:
        if not rates or rates[-1] != (trainer.epoch + 1, rate):
            rates.append((trainer.epoch + 1, rate))
        return step(indices, rate)

    monkeypatch.setattr(trainer, "_train_step", note)
    return rates


def test_a_resumed_trial_remembers_its_scores_and_lowers_its_rate_at_the_same_epochs(
    stripes: TrainingData, tmp_path: Path, monkeypatch
) -> None:
    scores = [0.5, 0.6, 0.6, 0.5, 0.7, 0.6, 0.6, 0.6]
    whole = _trainer(stripes, _WAITING, max_epochs=8)
    _scripted(whole, monkeypatch, scores)
    expected = _rates(whole, monkeypatch)
    for _ in scores:
        whole.run_epoch()
    assert [rate for _, rate in expected] == pytest.approx([0.1] * 4 + [0.01] * 3 + [0.001])
    for stop_after in (1, 3, 4, 6):
        first = _trainer(stripes, _WAITING, max_epochs=8)
        _scripted(first, monkeypatch, scores)
        for _ in range(stop_after):
            first.run_epoch()
        second = _trainer(stripes, _WAITING, max_epochs=8)
        second.restore(first.save(tmp_path / str(stop_after)).last)
        _scripted(second, monkeypatch, scores[stop_after:])
        found = _rates(second, monkeypatch)
        for _ in scores[stop_after:]:
            second.run_epoch()
        assert found == expected[stop_after:]


def test_a_trial_ends_early_after_its_patience_resumed_or_not_but_not_at_its_last_epoch(
    stripes: TrainingData, tmp_path: Path, monkeypatch
) -> None:
    hp = dataclasses.replace(_HP, stop_patience=2)
    trainer = _trainer(stripes, hp, max_epochs=5)
    _scripted(trainer, monkeypatch, [0.5, 0.7, 0.7])
    assert [trainer.run_epoch().waited for _ in range(3)] == [0, 0, 0]
    again = _trainer(stripes, hp, max_epochs=5)
    again.restore(trainer.save(tmp_path).last)
    _scripted(again, monkeypatch, [0.6])
    assert again.run_epoch().waited == 2
    last = _trainer(stripes, hp, max_epochs=4)
    last.restore(trainer.save(tmp_path).last)
    _scripted(last, monkeypatch, [0.6])
    assert last.run_epoch().waited == 0


def test_a_trial_trained_longer_is_not_judged_by_the_best_of_the_one_before(
    stripes: TrainingData, tmp_path: Path, monkeypatch
) -> None:
    hp = dataclasses.replace(_HP, stop_patience=2)
    origin = _trainer(stripes, hp, max_epochs=2)
    _scripted(origin, monkeypatch, [0.9, 0.8])
    for _ in range(2):
        origin.run_epoch()
    longer = TrialTrainer(hp, stripes, max_epochs=9, seed=0, device="cpu", continued_from=2)
    longer.restore(origin.save(tmp_path).last)
    _scripted(longer, monkeypatch, [0.5, 0.4, 0.3])
    assert [longer.run_epoch().waited for _ in range(3)] == [0, 0, 2]


def test_a_checkpoint_from_before_a_hyperparameter_existed_is_its_own_trials(
    stripes: TrainingData, tmp_path: Path
) -> None:
    trainer = _trainer(stripes)
    trainer.run_epoch()
    full = checkpoint.read(trainer.save(tmp_path).last)
    old = {key: value for key, value in full.state.items() if key != "scores"}
    old["hyperparameters"] = {key: value for key, value in _HP.as_dict().items() if key not in ("l1", "stop_patience")}
    old["report"] = {key: value for key, value in full.state["report"].items() if key != "waited"}
    written = checkpoint.write(tmp_path, "epoch", full.tensors, old, 1, full.state["score"])
    again = _trainer(stripes)
    again.restore(written)
    assert _timeless(again.run_epoch()) == _timeless(trainer.run_epoch())


def test_a_trial_trained_longer_learns_more(stripes: TrainingData, tmp_path: Path) -> None:
    hp = dataclasses.replace(_HP, lr=0.01)
    origin = _trainer(stripes, hp, max_epochs=1)
    first = origin.run_epoch()
    saved = origin.save(tmp_path)
    longer = TrialTrainer(hp, stripes, max_epochs=5, seed=0, device="cpu", continued_from=1)
    longer.restore(saved.last)
    last = [longer.run_epoch() for _ in range(4)][-1]
    assert last.val_loss < 0.9 * first.val_loss


def test_a_checkpoint_of_another_configuration_is_refused(stripes: TrainingData, tmp_path: Path) -> None:
    trainer = _trainer(stripes)
    trainer.run_epoch()
    saved = trainer.save(tmp_path)
    for ref, hp in ((saved.last, dataclasses.replace(_HP, lr=0.2)), (saved.best, _HP)):
        with pytest.raises(CheckpointError, match="belongs to another configuration"):
            _trainer(stripes, hp).restore(ref)


def test_the_best_file_rebuilds_the_network_that_scored(stripes: TrainingData, tmp_path: Path) -> None:
    trainer = _trainer(stripes)
    report = trainer.run_epoch()
    best = checkpoint.read(trainer.save(tmp_path).best)
    assert best.state == {
        "hyperparameters": _HP.as_dict(),
        "input": {"height": 8, "width": 8, "channels": 1},
        "classes": ["across", "down"],
        "mean": [125.0],
        "std": [75.0],
        "format": 1,
        "kind": "best",
        "epoch": 1,
        "score": report.score,
    }
    model = build(Hyperparameters.from_params(best.state["hyperparameters"]), (1, 8, 8), 2).eval()
    model.load_state_dict(best.group("model"))
    images, labels = stripes.batch(stripes.val_indices)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=trainer._bf16):
        hits = (model(images).argmax(1) == labels).sum().item()
    assert hits / len(labels) == report.score


def test_pictures_that_fill_no_batch_are_left_out_unless_there_is_none_full(stripes: TrainingData) -> None:
    for batch_size, images in ((128, 128), (200, 200), (512, 200)):
        trainer = _trainer(stripes, dataclasses.replace(_HP, batch_size=batch_size))
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
    _trainer(data, dataclasses.replace(_HP, flip=choice)).run_epoch()
    assert seen == {flips}


def test_the_training_loop_reads_no_value_from_the_device_within_an_epoch(stripes: TrainingData, monkeypatch) -> None:
    reads: list[int] = []
    item = torch.Tensor.item
    monkeypatch.setattr(torch.Tensor, "item", lambda tensor: (reads.append(1), item(tensor))[1])
    _trainer(stripes, dataclasses.replace(_HP, batch_size=8, optimizer="sgd")).run_epoch()
    assert len(reads) <= 3


def _gradient(trainer: TrialTrainer, monkeypatch, pictures: int) -> torch.Tensor:
    """The gradient of the first step on the first `pictures` training pictures, as one vector."""
    found: list[torch.Tensor] = []

    def note(_: float) -> None:
        found.append(torch.cat([parameter.grad.flatten() for parameter in trainer._model.parameters()]))

    monkeypatch.setattr(trainer._optimizer, "step", note)
    monkeypatch.setattr(trainer, "_bf16", False)
    trainer._train_step(torch.arange(pictures), 0.1)
    return found[0]


@pytest.mark.parametrize("micro_batch", [2, 8, 10, 31])
def test_micro_batches_give_the_gradient_of_the_whole_batch(stripes, monkeypatch, micro_batch: int) -> None:
    hp = dataclasses.replace(_HP, norm="none", dropout=0.0, label_smoothing=0.1, augment=0.5)
    whole = _trainer(stripes, hp)
    parts = TrialTrainer(hp, stripes, max_epochs=6, seed=0, device="cpu", micro_batch=micro_batch)
    expected = _gradient(whole, monkeypatch, 32)
    found = _gradient(parts, monkeypatch, 32)
    assert (found - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize(("batch_size", "largest"), [(32, 8), (35, 9), (15, 15)])
def test_no_more_than_a_micro_batch_goes_through_the_network_and_never_one_picture_alone(
    stripes, batch_size: int, largest: int
) -> None:
    hp = dataclasses.replace(_HP, batch_size=batch_size)
    trainer = TrialTrainer(hp, stripes, max_epochs=1, seed=0, device="cpu", micro_batch=8)
    seen: set[int] = set()
    trainer._model.register_forward_pre_hook(lambda _, arguments: seen.add(len(arguments[0])))
    assert trainer.run_epoch().images == 200 // batch_size * batch_size
    assert (min(seen), max(seen)) == (8, largest)
