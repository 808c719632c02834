"""One more training of a configuration, on training and validation pictures together, without any validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from tuner.training.config import Hyperparameters, Value
from tuner.training.data import TrainingData
from tuner.training.loop import TrialTrainer
from tuner.training.networks import Architecture


class _Unvalidated(TrialTrainer):
    """A trainer that takes the scores of an earlier run in the place of its own: validation pictures, which it trains
    on, would tell nothing. A schedule that cuts its rate at plateaus then cuts it where that run did."""

    scores: Mapping[int, float]

    def _validate(self) -> dict[str, float]:
        return {"val_loss": 0.0, self._score_name: self.scores[self.epoch + 1]}

    def result(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return self._description(), {key: value.detach().to("cpu") for key, value in self._model.state_dict().items()}


def train_whole(
    hp: Hyperparameters,
    data: TrainingData,
    *,
    epochs: int,
    max_epochs: int,
    continued_from: int,
    scores: Mapping[int, float],
    seed: int,
    network: Architecture,
    params: Mapping[str, Value],
    score: str,
    tell: Callable[[int, int], None],
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Train the first `epochs` of a training for `max_epochs`: what describes the network, as a checkpoint has it, and
    its weights after the last epoch, on the host.

    data: of which all training pictures are used, see `load_training_data`. score, scores: by epoch, what the run had
    that this one repeats with more pictures. tell: called with how many pictures were trained on, of how many. The
    others as for `TrialTrainer`, which also says what is raised; Diverged as by its `run_epoch`.
    """
    trainer = _Unvalidated(
        hp,
        data,
        max_epochs=max_epochs,
        seed=seed,
        device=data.device,
        continued_from=continued_from,
        network=network,
        params=params,
        score=score,
    )
    trainer.scores = scores
    batch = min(hp.batch_size, len(data.train_indices))
    total = epochs * (len(data.train_indices) // batch) * batch
    done = 0

    def stepped() -> None:
        nonlocal done
        done += batch
        tell(done, total)

    for _ in range(epochs):
        trainer.run_epoch(stepped)
    return trainer.result()


def best_device() -> torch.device:
    """The GPU of this machine, else its CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
