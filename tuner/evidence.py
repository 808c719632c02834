"""Evidence: what a sampler is told of an earlier study's trials. They are no trials of the study that it helps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuner.training.config import Value


@dataclass(frozen=True)
class Evidence:
    """One trial of an earlier study, as a point of the new space.

    params: values of the dimensions that it has a value for.
    complete: whether it is as good as a complete trial of the new study: same data, same number of epochs.
    epoch, score: if complete, its last epoch and its best score; else the last epoch that the new study reaches too,
    and the score there.
    """

    params: dict[str, Value]
    epoch: int
    score: float
    complete: bool

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Evidence:
        """What `dataclasses.asdict` gave. Raises TypeError, ValueError, KeyError for anything else."""
        evidence = cls(**content)
        is_number = isinstance(evidence.score, int | float) and math.isfinite(evidence.score)
        if not (isinstance(evidence.params, dict) and isinstance(evidence.epoch, int) and is_number):
            raise ValueError(f"evidence {content!r}")
        return evidence
