"""What a search may be for: the scores of a trained network on the validation split, and what the network costs.

Each score is computed after every epoch and kept with it (`metrics.validation_scores`); one of them is the score by
which epochs are compared. A cost is a trial's own, measured once (`costs.measure`). Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
COSTS = {
    "latency_ms": Objective("minimize", "milliseconds for one picture"),
    "parameters": Objective("minimize", "parameters of the network"),
}


def objective(name: str) -> Objective:
    """The objective called `name`. Raises UsageError that names those there are."""
    if name not in OBJECTIVES:
        raise UsageError(f"objective = {name!r} is not known: it must be one of {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]


def score_and_costs(names: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The score among the objectives of a search, and the costs beside it, which may be none.

    Raises UsageError for an unknown name, one given twice, or not exactly one score.
    """
    scores = [name for name in names if name in OBJECTIVES]
    costs = [name for name in names if name in COSTS]
    for name in names:
        if name not in {*OBJECTIVES, *COSTS}:
            raise UsageError(
                f"objective = {name!r} is not known: it must be one of {', '.join(OBJECTIVES)}, and beside it also "
                f"{' or '.join(COSTS)}"
            )
    if len(scores) != 1 or len(set(costs)) < len(costs):
        raise UsageError(
            f"objective = {', '.join(names) or 'none'} is not allowed: give exactly one of {', '.join(OBJECTIVES)}, "
            f"and beside it {' or '.join(COSTS)} or both"
        )
    return scores[0], tuple(costs)


def format_value_of(cost: str, value: float) -> str:
    """`1.53` milliseconds, `19,412` parameters."""
    return f"{value:,.0f}" if cost == "parameters" else f"{value:.3g}"


def format_costs(costs: Mapping[str, float]) -> str:
    """`latency_ms 1.53, parameters 19,412`."""
    return ", ".join(f"{name} {format_value_of(name, value)}" for name, value in costs.items())


def known_scores(content: Mapping[str, Any]) -> dict[str, float]:
    """The scores among the entries of `content`, in the order of `OBJECTIVES`: all four, but of older records fewer."""
    return {name: content[name] for name in OBJECTIVES if content.get(name) is not None}


def format_scores(scores: Mapping[str, float]) -> str:
    """`val_accuracy 0.9310, val_loss 0.2107`."""
    return ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
