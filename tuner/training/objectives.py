"""What a search may be for: the scores of a trained network on the validation split. Needs no torch.

Each is computed after every epoch and kept with it (`metrics.validation_scores`); one of them is the score by which
epochs and trials are compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuner.direction import Direction, sign_of
from tuner.errors import UsageError


@dataclass(frozen=True)
class Objective:
    """direction: whether more or less is better; words: for people."""

    direction: Direction
    words: str

    @property
    def sign(self) -> float:
        """What a score is multiplied with so that more is better."""
        return sign_of(self.direction)


DEFAULT_OBJECTIVE = "val_accuracy"
OBJECTIVES = {
    "val_accuracy": Objective("maximize", "validation accuracy"),
    "val_balanced_accuracy": Objective("maximize", "validation balanced accuracy"),
    "val_macro_f1": Objective("maximize", "validation macro F1"),
    "val_loss": Objective("minimize", "validation loss"),
}


def objective(name: str) -> Objective:
    """The objective called `name`. Raises UsageError that names those there are."""
    if name not in OBJECTIVES:
        raise UsageError(f"objective = {name!r} is not known: it must be one of {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]


def known_scores(content: Mapping[str, Any]) -> dict[str, float]:
    """The scores among the entries of `content`, in the order of `OBJECTIVES`: all four, but of older records fewer."""
    return {name: content[name] for name in OBJECTIVES if content.get(name) is not None}


def format_scores(scores: Mapping[str, float]) -> str:
    """`val_accuracy 0.9310, val_loss 0.2107`."""
    return ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
