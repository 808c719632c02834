"""One trial's training, an epoch at a time.

Shapes: T training pictures, B pictures in a batch, C channels, H height and W width in pixels, K classes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tuner import failpoints
from tuner.errors import CheckpointError, UsageError
from tuner.training import checkpoint, costs
from tuner.training.augment import Moves, augment
from tuner.training.checkpoint import SavedCheckpoints
from tuner.training.checkpoint_ref import CheckpointRef
from tuner.training.classweights import class_weights, training_loss
from tuner.training.config import Hyperparameters, Value
from tuner.training.data import TrainingData
from tuner.training.epoch import Diverged, EpochReport
from tuner.training.hardware import has_fast_bf16
from tuner.training.models import load_state
from tuner.training.networks import FAMILY, Architecture, normalised
from tuner.training.objectives import DEFAULT_OBJECTIVE, objective
from tuner.training.optimizer import Optimizer
from tuner.training.randomness import TrialRandomness
from tuner.training.schedule import learning_rate, plateaus
from tuner.training.transfer import freeze
from tuner.training.validation import evaluation_batch, validate


class TrialTrainer:
    """Trains one configuration. The same arguments give the same epochs, bit for bit on a CPU with the same number of
    threads, also when the trial is saved and restored between any two of them.

    max_epochs: where the learning rate reaches 0.
    continued_from: epoch to which the restored checkpoint's trial was trained, if this one trains it longer; see
        `learning_rate`.
    micro_batch: how many pictures go through the network at once; None: a whole batch. Each step then adds up the
        gradients of B // micro_batch parts of its batch before it changes the weights, in so much less memory. Without
        batch norm and dropout that is the gradient of the whole batch up to rounding. Batch norm takes mean and
        variance from each part alone ("ghost batch normalization", Hoffer et al. 2017), which is noisier, and moves
        its running averages once a part; dropout draws other masks.
    network: the kind of network; params: what it is built from besides `hp`, see `Architecture.build`.
    score: name of the objective (`objectives.OBJECTIVES`) that is the score of an epoch.

    Raises UsageError if the network does not fit the pictures' size; torch's own out-of-memory error passes through,
    here and in `run_epoch`, and so do all errors of a network of the user's own.
    """

    def __init__(
        self,
        hp: Hyperparameters,
        data: TrainingData,
        *,
        max_epochs: int,
        seed: int,
        device: torch.device | str,
        continued_from: int = 0,
        micro_batch: int | None = None,
        network: Architecture = FAMILY,
        params: Mapping[str, Value] | None = None,
        score: str = DEFAULT_OBJECTIVE,
    ) -> None:
        self._hp = hp
        self._network = network
        self._params = dict(params or {})
        self._data = normalised(data, network)
        self._max_epochs = max_epochs
        self._continued_from = continued_from
        self._micro_batch = micro_batch
        self._device = torch.device(device)
        self._moves = Moves.of(hp)
        self._flip = data.info.flip if hp.flip == "auto" else hp.flip == "on"
        self._bf16 = has_fast_bf16(self._device)
        self._randomness = TrialRandomness(seed, self._device)
        info = data.info
        with self._randomness.as_default():
            built = network.build(hp, self._params, (info.channels, info.height, info.width), len(info.classes))
        order = torch.channels_last if network.channels_last else torch.preserve_format
        self._model: nn.Module = built.to(self._device, memory_format=order)  # type: ignore[call-overload]
        self._optimizer = Optimizer(self._model, hp)
        self._class_weights = class_weights(hp.class_weight, self._data)
        self._score_name = score
        self._sign = objective(score).sign
        self._report: EpochReport | None = None
        self._scores: list[float] = []
        self._best_weights: dict[str, Tensor] = {}
        self._best_epoch, self._best_score = 0, -math.inf * self._sign
        self._best_scores: dict[str, float] = {}
        self._kept: list[SavedCheckpoints] = []

    @property
    def epoch(self) -> int:
        """Epochs trained so far, with those before a restored checkpoint."""
        return self._report.epoch if self._report else 0

    def costs(self, names: Sequence[str]) -> dict[str, float]:
        """What the network costs, by objective, see `costs.measure`."""
        picture, _ = self._data.batch(self._data.val_indices[:1])
        return costs.measure(self._model, picture, names, bf16=self._bf16)

    def run_epoch(self, after_step: Callable[[], None] | None = None) -> EpochReport:
        """Train one epoch and validate. Raises Diverged if a loss is not finite; the trainer is of no use then.

        after_step: called after each step of training, for who watches.
        """
        assert self.epoch < self._max_epochs, f"all {self._max_epochs} epochs are done"
        assert not (self._report and self._report.waited), "the trial has ended early"
        start = time.perf_counter()
        epoch = self.epoch + 1
        with self._randomness.as_default():
            train_loss, images = self._train_epoch(after_step)
        if not math.isfinite(train_loss):
            raise Diverged(f"the training loss is {train_loss} at epoch {epoch}")
        scores = self._validate()
        score, val_loss = scores[self._score_name], scores["val_loss"]
        if not math.isfinite(val_loss):
            raise Diverged(f"the validation loss is {val_loss} at epoch {epoch}")
        self._scores.append(score)
        seconds = time.perf_counter() - start
        self._report = EpochReport(epoch, score, val_loss, train_loss, seconds, images, self._waited_too_long(), scores)
        # Of equal epochs the later one: its learning rate was lower, so it tends to do better on other pictures.
        if self._sign * score >= self._sign * self._best_score:
            self._best_epoch, self._best_score, self._best_scores = epoch, score, scores
            self._best_weights = _on_host(self._model)
        return self._report

    def _waited_too_long(self) -> int:
        """Epochs since the best score if the trial ends early for them, else 0.

        A trial that trains another one longer has a learning rate of its own, so it is not judged by the other's best.
        """
        if not self._hp.stop_patience or len(self._scores) == self._max_epochs:
            return 0
        waited = plateaus(self._scores[self._continued_from :], self._hp.stop_patience, self._sign).waited
        return waited if waited >= self._hp.stop_patience else 0

    def save(self, folder: Path) -> SavedCheckpoints:
        """Write the last epoch's full state and the best epoch's weights to `folder`, which no other trial uses.

        The files of the save before are kept, since the journal names them until it names these; older ones are
        removed. Raises CheckpointError if the folder cannot be written.
        """
        report = self._report
        assert report, "there is nothing to save before the first epoch"
        best = self._save_best(folder)
        failpoints.reach("between-best-and-last-checkpoint")
        tensors = {
            **_prefixed("model", _on_host(self._model)),
            **_prefixed("optimizer", self._optimizer.tensors()),
            **_prefixed("rng", self._randomness.tensors()),
        }
        state = {
            **self._description(),
            "max_epochs": self._max_epochs,
            "report": vars(report),
            "scores": self._scores,
            "best": best.as_dict(),
        }
        saved = SavedCheckpoints(checkpoint.write(folder, "epoch", tensors, state, report.epoch, report.score), best)
        self._kept = [*[kept for kept in self._kept if kept.last.epoch != report.epoch][-1:], saved]
        checkpoint.keep_only(folder, [ref for kept in self._kept for ref in (kept.last, kept.best)])
        return saved

    def restore(self, last: CheckpointRef) -> None:
        """Go on from a `SavedCheckpoints.last`; its best file must lie beside it.

        A trial that trains another one longer does so as a trial of its own: it goes on from the other's last state,
        and its best is the best of the epochs that it adds.

        Raises CheckpointError if a file is missing or damaged, or belongs to another configuration; nothing has changed
        then.
        """
        full = checkpoint.read(last)
        if full.state["kind"] != "epoch" or not self._is_own(full.state):
            raise CheckpointError(f"the checkpoint {last.path} belongs to another configuration than this trial's")
        if last.epoch != self._continued_from:
            self._restore_best(last, CheckpointRef.from_dict(full.state["best"]))
        load_state(self._model, full.group("model"))
        self._optimizer.load(full.group("optimizer"))
        self._randomness.load(full.group("rng"))
        self._report = EpochReport(**full.state["report"])
        # Versions that had nothing to decide by scores did not save them.
        self._scores = full.state.get("scores", [])

    def _is_own(self, state: dict[str, Any]) -> bool:
        """Whether a checkpoint's `state` is of this trial; hyperparameters that it does not know are the defaults."""
        description = self._description()
        if any(state.get(key) != description.get(key) for key in ("model", "params")):
            return False
        try:
            return Hyperparameters.from_params(state["hyperparameters"]) == self._hp
        except UsageError:
            return False

    def _train_epoch(self, after_step: Callable[[], None] | None) -> tuple[float, int]:
        """Mean loss and number of pictures. The pictures that fill no batch are left out this time."""
        self._model.train()
        slower = self._freeze_or_not()
        indices = self._data.train_indices
        order = indices[torch.randperm(len(indices), generator=self._randomness.generator, device=self._device)]
        batch_size = min(self._hp.batch_size, len(order))
        steps = len(order) // batch_size
        # Summed on the device: reading a loss each step would make the GPU wait for Python.
        total = torch.zeros((), device=self._device)
        seen = plateaus(self._scores, self._hp.plateau_patience, self._sign).count
        for step in range(steps):
            # The middle of the step, so that neither the first nor the last has a rate of 0.
            position = self.epoch + (step + 0.5) / steps
            rate = learning_rate(self._hp, position, self._max_epochs, self._continued_from, seen)
            total += self._train_step(order[step * batch_size : (step + 1) * batch_size], rate * slower)
            if after_step is not None:
                after_step()
        return (total / steps).item(), steps * batch_size

    def _freeze_or_not(self) -> float:
        """Have those layers learn that do in the coming epoch; the factor on its learning rate."""
        frozen = self.epoch < self._hp.frozen_epochs
        head = self._network.head(self._model) if self._hp.frozen_epochs else None
        if head is not None:
            freeze(self._model, head, frozen=frozen)
        return 1.0 if frozen else self._hp.unfrozen_lr_factor

    def _train_step(self, indices: Tensor, rate: float) -> Tensor:
        images, labels = self._data.batch(indices)
        # The whole batch, so that micro-batches see the pictures that it would have seen; the memory goes elsewhere.
        images = augment(images, self._hp.augment, self._flip, self._randomness.generator, self._moves)
        parts = max(1, len(images) // self._micro_batch) if self._micro_batch else 1
        total = torch.zeros((), device=self._device)
        # Parts of equal size but for one picture: a last part of a single one would have no variance to normalise by.
        for part, truth in zip(images.tensor_split(parts), labels.tensor_split(parts), strict=True):
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
                logits = self._model(part)
            loss = training_loss(logits.float(), truth, self._class_weights, self._hp.label_smoothing)
            share = loss * (len(part) / len(images))
            torch.autograd.backward(share)
            total += share.detach()
        self._optimizer.step(rate)
        return total

    def _validate(self) -> dict[str, float]:
        """All objectives by name."""
        at_once = self._micro_batch or evaluation_batch(self._device, self._hp.batch_size)
        return validate(self._model, self._data, at_once=at_once, bf16=self._bf16)

    def _restore_best(self, last: CheckpointRef, recorded: CheckpointRef) -> None:
        # The two files may have been moved together since.
        beside = Path(last.path).with_name(Path(recorded.path).name)
        best = CheckpointRef(str(beside), recorded.sha256, recorded.epoch, recorded.score)
        found = checkpoint.read(best)
        self._best_weights, self._best_scores = found.group("model"), found.state.get("scores", {})
        self._best_epoch, self._best_score = best.epoch, best.score
        self._kept = [SavedCheckpoints(last, best)]

    def _save_best(self, folder: Path) -> CheckpointRef:
        for kept in self._kept:
            path = Path(kept.best.path)
            if kept.best.epoch == self._best_epoch and path.parent == folder.absolute() and path.exists():
                return kept.best
        tensors = _prefixed("model", self._best_weights)
        state = {**self._description(), "scores": self._best_scores}
        return checkpoint.write(folder, "best", tensors, state, self._best_epoch, self._best_score)

    def _description(self) -> dict[str, Any]:
        """What rebuilds the network and its input without the data set."""
        info = self._data.info
        spec = self._network.spec
        return {
            "hyperparameters": self._hp.as_dict(),
            **({} if spec is None else {"model": spec.as_dict(), "params": self._params}),
            "input": {"height": info.height, "width": info.width, "channels": info.channels},
            "classes": list(info.classes),
            "mean": self._data.mean.tolist(),
            "std": self._data.std.tolist(),
        }


def _on_host(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}
