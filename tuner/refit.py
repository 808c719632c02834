"""`export-best --refit`: the winner trained once more on training and validation pictures, before the test is read.

For as many epochs as its best epoch had, by the schedule of its run for all epochs, with its seed; nothing is validated
and so nothing is chosen: no early stopping, and the weights are those after the last epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import ExportError, first_line
from tuner.progress import format_seconds
from tuner.retention import model_folder
from tuner.study import Study, TrialRecord
from tuner.training.data import load_training_data
from tuner.training.epoch import Diverged
from tuner.training.memory import ran_out_of_memory
from tuner.training.networks import open_network
from tuner.training.refit import best_device, train_whole

if TYPE_CHECKING:
    from torch import Tensor

    from tuner.training.checkpoint_ref import CheckpointRef
    from tuner.training.decoding import Tell


@dataclass(frozen=True)
class Refit:
    """A refitted model: what describes it, as a checkpoint has it, its weights, and what its files say of it."""

    description: dict[str, Any]
    weights: dict[str, Tensor]
    facts: dict[str, Any]


def refit(
    study: Study, trial: TrialRecord, ref: CheckpointRef, cache: Path, say: Callable[[str], None], tell: Tell
) -> Refit:
    """Train the configuration of `trial`, whose best epoch is that of `ref`, on this machine's GPU, else its CPU.

    Raises ExportError if it diverges or the device has no memory for it, and what opens data and network raises.
    """
    from torch import cuda

    spec = study.spec
    network = open_network(spec.model, model_folder(spec.storage, spec.name))
    began_s = time.perf_counter()
    max_epochs = trial.max_epochs or spec.max_epochs
    device = best_device()
    name = cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    try:
        data = load_training_data(spec.data, cache, device, whole=True)
        pictures = len(data.train_indices)
        say(
            f"refitting trial {trial.number} on {pictures} pictures, training and validation, for {ref.epoch} of "
            f"{max_epochs} epochs ({name})"
        )
        description, weights = train_whole(
            spec.hyperparameters(trial.params),
            data,
            epochs=ref.epoch,
            max_epochs=max_epochs,
            continued_from=trial.continued_from,
            scores=_scores(study, trial),
            seed=spec.training_seed(trial.number),
            network=network,
            params=spec.all_params(trial.params),
            score=spec.metric,
            tell=lambda done, total: tell("refitting", done, total),
        )
    except Diverged as error:
        raise ExportError(f"the refit of trial {trial.number} diverged ({error}): export it without --refit") from error
    except Exception as error:
        if not ran_out_of_memory(error):
            raise
        raise ExportError(
            f"the {name} has no memory to refit trial {trial.number} ({first_line(error)}): free some, or export it "
            "without --refit"
        ) from error
    say(f"refitted in {format_seconds(time.perf_counter() - began_s)}")
    facts = {
        "pictures": pictures,
        "epochs": ref.epoch,
        "max_epochs": max_epochs,
        "training_seed": spec.training_seed(trial.number),
        "device": name,
        "of_trial": trial.number,
        "score_of_that_run": ref.score,
    }
    return Refit(description, weights, facts)


def _scores(study: Study, trial: TrialRecord) -> dict[int, float]:
    """By epoch, from the first one on: a trial that trains another one longer has those of that one before its own."""
    by_number = {one.number: one for one in study.trials}
    scores = dict(trial.values)
    while trial.continues is not None:
        trial = by_number[trial.continues]
        scores = {**dict(trial.values), **scores}
    return scores
