"""StudySpec: everything that defines a search, checked, frozen, and stored with the study as JSON.

Nothing that decides what a search does is read from anywhere else once the study exists: not the space file, not the
environment. What may change over a study's life (the number of trials, the resources) is written to the journal.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from tuner import asha
from tuner.asha import Direction
from tuner.errors import StoreError, UsageError, first_line
from tuner.space import Space
from tuner.training.dataspec import DataSpec

FORMAT = 1


# What JSON must hold for each plain field of a stored spec.
_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("name", "data_fingerprint", "metric", "direction", "storage", "created_by"), str),
    **dict.fromkeys(("trials", "max_epochs", "grace_period", "reduction_factor", "seed"), int),
    "time_budget_s": (int, float, type(None)),
    "keep_all": bool,
}


@dataclass(frozen=True)
class Resources:
    """What a search may use at once.

    gpus: GPUs at once; 0 trains on CPUs, None takes all that the cluster has.
    trials_per_gpu: trials that share one GPU.
    workers: trials at once on CPUs.
    """

    gpus: int | None = None
    trials_per_gpu: int = 1
    workers: int = 1


@dataclass(frozen=True)
class StudySpec:
    """What is searched, on which data, by which rules. Build it with keyword arguments; `check` runs at once.

    data_fingerprint: sha256 of what the training side of the data set consisted of when the study was created.
    storage: folder of the checkpoints, the same on all machines; the study has a folder of its own in it.
    keep_all: keep the checkpoints of pruned and failed trials too.
    time_budget_s: seconds of wall clock after which one run of the driver stops; None is without limit.
    Raises UsageError for numbers out of range.
    """

    name: str
    data: DataSpec
    data_fingerprint: str
    space: Space
    trials: int
    max_epochs: int
    grace_period: int
    reduction_factor: int = 4
    seed: int = 0
    metric: str = "val_accuracy"
    direction: Direction = "maximize"
    storage: str = ""
    time_budget_s: float | None = None
    resources: Resources = field(default_factory=Resources)
    keep_all: bool = False
    created_by: str = ""

    def __post_init__(self) -> None:
        for key, low in (("trials", 1), ("max_epochs", 1), ("grace_period", 1), ("reduction_factor", 2)):
            value = getattr(self, key)
            if value < low:
                raise UsageError(f"{key.replace('_', '-')} = {value} is too small: it must be at least {low}")
        if self.direction not in ("maximize", "minimize"):
            raise UsageError(f"direction = {self.direction!r} must be maximize or minimize")
        if self.time_budget_s is not None and self.time_budget_s <= 0:
            raise UsageError(f"time-budget = {self.time_budget_s:g} s must be above 0")

    def rungs(self, max_epochs: int | None = None) -> tuple[int, ...]:
        """Epochs at which ASHA compares trials of up to `max_epochs`, by default the spec's."""
        return asha.rung_levels(max_epochs or self.max_epochs, self.grace_period, self.reduction_factor)

    def to_json(self) -> str:
        """JSON with a format number. The dimensions keep their order, in which the sampler draws them."""
        content = {"format": FORMAT, **dataclasses.asdict(self)}
        content["data"] = self.data.as_dict()
        return json.dumps(content, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> StudySpec:
        """Read what `to_json` wrote. Raises StoreError for another format or anything that is not such a spec."""
        try:
            content: dict[str, Any] = json.loads(text)
            found = content.pop("format")
        except (ValueError, KeyError, AttributeError, TypeError):
            raise StoreError("the study's spec in the store is not readable JSON with a format number") from None
        if found != FORMAT:
            raise StoreError(f"the study's spec has format {found!r}, this version of tuner reads format {FORMAT}")
        try:
            data = DataSpec.from_dict(content.pop("data"))
            space = Space.from_dict(content.pop("space"))
            resources = Resources(**content.pop("resources"))
            for key, kinds in _KINDS.items():
                if not isinstance(content[key], kinds):
                    raise TypeError(f"{key} = {content[key]!r}")
            return cls(data=data, space=space, resources=resources, **content)
        except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
            what = f"{type(error).__name__}: {first_line(error)}"
            raise StoreError(f"the study's spec in the store is not one of this program: {what}") from None
