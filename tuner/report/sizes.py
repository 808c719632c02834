"""How many parameters the networks of a study have, counted without any weights."""

from __future__ import annotations

import torch

from tuner.errors import CheckpointError
from tuner.report.record import StudyDetail
from tuner.training import checkpoint, models
from tuner.training.checkpoint_ref import CheckpointRef


def parameter_counts(detail: StudyDetail) -> dict[int, int]:
    """Trained values of the network of each complete trial, by the trial's number.

    Of the built-in networks only: others are all of one size, or the user's code, which no report runs. What the
    networks are for is asked of the best checkpoint; empty if that is not to be read here.
    """
    spec, shape = detail.spec, _shape(detail)
    if spec.model is not None or shape is None:
        return {}
    input_shape, classes = shape
    sizes = {}
    with torch.device("meta"):  # no memory, no initial weights
        for trial in detail.trials:
            if trial.record.state == "complete":
                network = models.build(spec.hyperparameters(trial.record.params), input_shape, classes)
                sizes[trial.record.number] = models.parameter_count(network)
    return sizes


def _shape(detail: StudyDetail) -> tuple[tuple[int, int, int], int] | None:
    best = detail.study.best
    if best is None:
        return None
    reference = next(trial.best_checkpoint for trial in detail.study.trials if trial.number == best.trial)
    assert reference is not None, "the best is chosen among trials whose weights are kept"
    try:
        state = checkpoint.read(CheckpointRef.from_dict(reference)).state
    except CheckpointError:
        return None
    shape = state["input"]
    return (shape["channels"], shape["height"], shape["width"]), len(state["classes"])
