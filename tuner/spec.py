"""StudySpec: everything that defines a search, checked, frozen, and stored with the study as JSON.

Nothing that decides what a search does is read from anywhere else once the study exists: not the space file, not the
environment. What may change over a study's life (the number of trials, the resources) is written to the journal.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuner import asha
from tuner.budget import parse_budget
from tuner.configurations import check_configuration
from tuner.direction import Direction, sign_of
from tuner.errors import StoreError, UsageError, first_line
from tuner.evidence import Evidence
from tuner.fronts import Point
from tuner.packing import PerGpu
from tuner.space import Space
from tuner.training.config import Hyperparameters, Value
from tuner.training.dataspec import DataSpec
from tuner.training.modelspec import ModelSpec
from tuner.training.objectives import COSTS, DEFAULT_OBJECTIVE, objective, score_and_costs

FORMAT = 1
LOGS = ("tensorboard", "mlflow")
SAMPLERS = ("tpe", "mfgp", "random")
ASHA = ("stop", "promote")
Standing = float | Point


# What JSON must hold for each plain field of a stored spec.
_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("name", "data_fingerprint", "metric", "direction", "storage", "created_by"), str),
    **dict.fromkeys(("trials", "max_epochs", "grace_period", "reduction_factor", "seed"), int),
    **dict.fromkeys(("warm_start", "sampler", "asha", "budget"), str),
    "time_budget_s": (int, float, type(None)),
    "keep_all": bool,
}


@dataclass(frozen=True)
class Resources:
    """What a search may use at once.

    gpus: GPUs at once; 0 trains on CPUs, None takes all that the cluster has.
    trials_per_gpu: trials that share one GPU; "auto": as many as fit, see `tuner.packing`.
    workers: trials at once on CPUs.
    """

    gpus: int | None = None
    trials_per_gpu: PerGpu = 1
    workers: int = 1

    @property
    def slots_per_gpu(self) -> int:
        """Into how many equal parts a GPU is divided beforehand: with "auto" it is whole."""
        return self.trials_per_gpu if isinstance(self.trials_per_gpu, int) else 1


@dataclass(frozen=True)
class StudySpec:
    """What is searched, on which data, by which rules. Build it with keyword arguments; `check` runs at once.

    data_fingerprint: sha256 of what the training side of the data set consisted of when the study was created.
    metric, direction: the score, a name of `tuner.training.objectives.OBJECTIVES`, and the direction that it has there.
    costs: further objectives, of `tuner.training.objectives.COSTS`, of which less is better.
    storage: folder of the checkpoints, the same on all machines; the study has a folder of its own in it.
    keep_all: keep the checkpoints of pruned and failed trials too.
    enqueued: configurations that the user wants to be tried first; what one lacks is sampled.
    warm_start, evidence: an earlier study, and its trials for the sampler, and for nothing else.
    model: the network; None: the built-in family.
    sampler: what suggests configurations, one of `SAMPLERS`, see `tuner.search.samplers`.
    asha: what becomes of trials at a rung, one of `ASHA`: those that are not among the best are stopped, or all pause
        and the best are promoted, see `tuner.promotion`.
    budget: hours of GPUs or CPUs, or money, for all runs of the driver together, see `tuner.budget`; empty: no limit.
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
    reduction_factor: int = asha.REDUCTION_FACTOR
    seed: int = 0
    metric: str = DEFAULT_OBJECTIVE
    direction: Direction = "maximize"
    costs: tuple[str, ...] = ()
    storage: str = ""
    time_budget_s: float | None = None
    resources: Resources = field(default_factory=Resources)
    keep_all: bool = False
    created_by: str = ""
    enqueued: tuple[dict[str, Value], ...] = ()
    warm_start: str = ""
    evidence: tuple[Evidence, ...] = ()
    log: tuple[str, ...] = ()
    model: ModelSpec | None = None
    sampler: str = "tpe"
    asha: str = "stop"
    budget: str = ""

    def __post_init__(self) -> None:
        for key, low in (("trials", 1), ("max_epochs", 1), ("grace_period", 1), ("reduction_factor", 2)):
            value = getattr(self, key)
            if value < low:
                raise UsageError(f"{key.replace('_', '-')} = {value} is too small: it must be at least {low}")
        for name in self.log:
            if name not in LOGS:
                raise UsageError(f"log = {name!r} is not known: it must be {' or '.join(LOGS)}")
        refuse_unknown(self.sampler, self.asha, self.costs)
        if self.direction != objective(self.metric).direction:
            raise UsageError(f"direction = {self.direction!r} is not that of {self.metric}")
        score_and_costs(self.objectives)
        if self.budget:
            parse_budget(self.budget)
        if self.time_budget_s is not None and self.time_budget_s <= 0:
            raise UsageError(f"time-budget = {self.time_budget_s:g} s must be above 0")

    @property
    def objectives(self) -> tuple[str, ...]:
        """The score, and the costs beside it."""
        return (self.metric, *self.costs)

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Of each of the objectives."""
        return (self.direction, *(COSTS[name].direction for name in self.costs))

    def standing(self, score: float, costs: Mapping[str, float]) -> Standing:
        """By what a trial is compared with others at a rung: its score, or with several objectives its point."""
        return self.point(score, costs) if self.costs else score

    def point(self, score: float, costs: Mapping[str, float]) -> Point:
        """A trial's place among others with several objectives: in each number more is better."""
        return (sign_of(self.direction) * score, *(-costs[name] for name in self.costs))

    @property
    def first_configurations(self) -> list[dict[str, Value]]:
        """What is tried before the sampler is asked: the user's configurations, then the space's own first one."""
        start = self.space.start
        return [*self.enqueued, *([start] if start and start not in self.enqueued else [])]

    def all_params(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """A trial's `params` with the constants of the space: what defines its network and its training."""
        return {**self.space.constants, **params}

    def hyperparameters(self, params: Mapping[str, Value]) -> Hyperparameters:
        """All hyperparameters of a trial. Raises UsageError for one that is out of range."""
        own_network = self.model is not None and self.model.own
        return Hyperparameters.from_params(self.all_params(params), own_network=own_network)

    def training_seed(self, number: int) -> int:
        """Of the initial weights, the order of the pictures and their augmentation in trial `number`."""
        return self.seed * 1_000_003 + number

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
            # Studies from before there were such have none.
            content.setdefault("warm_start", "")
            content.setdefault("sampler", "tpe")
            content.setdefault("asha", "stop")
            content.setdefault("budget", "")
            costs = content.pop("costs", [])
            given = [
                check_configuration(values, space.dimensions, complete=False) for values in content.pop("enqueued", [])
            ]
            model = content.pop("model", None)
            evidence = [Evidence.from_dict(row) for row in content.pop("evidence", [])]
            for known in evidence:
                check_configuration(known.params, space.dimensions, complete=False)
            log = content.pop("log", [])
            for key, kinds in _KINDS.items():
                if not isinstance(content[key], kinds):
                    raise TypeError(f"{key} = {content[key]!r}")
            return cls(
                data=data,
                space=space,
                resources=resources,
                enqueued=tuple(given),
                evidence=tuple(evidence),
                log=tuple(log),
                costs=tuple(costs),
                model=None if model is None else ModelSpec.from_dict(model),
                **content,
            )
        except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
            what = f"{type(error).__name__}: {first_line(error)}"
            raise StoreError(f"the study's spec in the store is not one of this program: {what}") from None


def default_sampler(costs: Sequence[str]) -> str:
    """What suggests configurations unless somebody says otherwise, by docs/search-quality.md."""
    return "tpe" if costs else "mfgp"


def refuse_unknown(sampler: str, asha: str, costs: Sequence[str]) -> None:
    """Raises UsageError if one of them is none of those that there are, or the sampler none for several objectives."""
    for name, given, known in (("sampler", sampler, SAMPLERS), ("asha", asha, ASHA)):
        if given not in known:
            raise UsageError(f"{name} = {given!r} is not known: it must be {', '.join(known[:-1])} or {known[-1]}")
    if costs and sampler == "mfgp":
        raise UsageError("sampler = 'mfgp' knows one objective: with several it must be tpe or random")
