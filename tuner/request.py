"""What a search was asked for, and the frozen spec that it becomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuner import asha
from tuner.budget import parse_budget, refuse_other_device
from tuner.enqueue import in_space
from tuner.errors import UsageError
from tuner.overrides import override
from tuner.space import Space, load_space
from tuner.spec import Resources, StudySpec, default_sampler, refuse_unknown
from tuner.store.identity import user_name
from tuner.training.dataspec import DataSpec
from tuner.training.modelspec import is_own
from tuner.training.objectives import DEFAULT_OBJECTIVE, objective, score_and_costs

DEFAULT_TRIALS = 32
DEFAULT_MAX_EPOCHS = 27
SMALL_SPACE = "cifar10-small"
TRANSFER_SPACE = "transfer"


@dataclass(frozen=True)
class SearchRequest:
    """What `tuner search` was asked for; None leaves a choice to the space file or to the defaults.

    overrides: texts as of `--set`, see `tuner.overrides`.
    enqueue: configurations to try first, each with values for some or all dimensions.
    warm_start: an earlier study in the same store, for the sampler to learn from.
    model: the network, see `tuner.training.modelspec`; before that of the space file.
    profile: trace an epoch for a viewer.
    budget: text as of `--budget`, see `tuner.budget`; empty: none.
    log: where else epochs are written to: "tensorboard", "mlflow".
    sampler: None: the multi-fidelity one, with several objectives TPE.
    objectives: one score of `tuner.training.objectives.OBJECTIVES`, and costs beside it.
    pretrained: begin with torchvision's published weights; weights: with those of this file.
    """

    dataset: str
    resources: Resources
    storage: Path
    data_dir: Path
    space: str | Space | None = None
    trials: int | None = None
    max_epochs: int | None = None
    time_budget_s: float | None = None
    fixed: bool = False
    name: str | None = None
    address: str | None = None
    seed: int = 0
    keep_all: bool = False
    image_size: int | None = None
    progress_timeout_s: float | None = None
    insecure: bool = False
    strict_gpus: bool = False
    strict_data: bool = False
    overrides: tuple[str, ...] = ()
    enqueue: tuple[dict[str, Any], ...] = ()
    warm_start: str | None = None
    model: str | None = None
    pretrained: bool = False
    weights: Path | None = None
    profile: bool = False
    sampler: str | None = None
    budget: str = ""
    asha: str = "stop"
    log: tuple[str, ...] = ()
    objectives: tuple[str, ...] = (DEFAULT_OBJECTIVE,)


def chosen_space(request: SearchRequest) -> Space | None:
    """The space that the request names, for the network that it names; None if the hardware is to choose.

    Raises UsageError if it cannot be used, or if a network of one's own comes without one.
    """
    model = request.model or ""
    if request.space is None:
        if is_own(model):
            raise UsageError(
                f"--model {model} needs --space FILE: a search space with the parameters of your function in [space] "
                "or [constants]"
            )
        return load_space(TRANSFER_SPACE, model) if model else None
    if isinstance(request.space, str):
        return load_space(request.space, model)
    return Space.from_dict({**request.space.as_dict(), "model": model}) if model else request.space


def resources_changed(**named: Any) -> Callable[[Resources], Resources]:
    """What replaces those of a study's resources that were named anew, the ones that are not None."""
    changes = {key: value for key, value in named.items() if value is not None}
    return lambda resources: replace(resources, **changes)


def checked_budget(request: SearchRequest) -> str:
    """The budget of the spec. Raises UsageError for what is none, or counts a device that is not asked for."""
    if not request.budget:
        return ""
    budget = str(parse_budget(request.budget))
    if request.resources.gpus is not None:
        refuse_other_device(budget, gpus=request.resources.gpus > 0)
    return budget


def refuse_unfitting(request: SearchRequest) -> None:
    """What no data set makes right, refused before one is read. Raises UsageError."""
    _, costs = score_and_costs(request.objectives)
    refuse_unknown(request.sampler or default_sampler(costs), request.asha, costs)
    if costs and request.warm_start:
        raise UsageError(
            f"--warm-start {request.warm_start} is for searches with one objective, and this one is for "
            f"{', '.join(request.objectives)}"
        )
    checked_budget(request)
    shared = request.resources.trials_per_gpu
    if request.resources.gpus == 0 and shared != 1:
        raise UsageError(
            f"--trials-per-gpu {shared} has trials share GPUs, but --gpus 0 trains on CPUs: leave one of them out, or "
            "say by --workers how many trials run at once"
        )


def default_space(dataset: str, *, gpus: bool) -> str:
    """The shipped space for a data set: its own; on CPUs one with networks small enough for them."""
    if dataset == "digits":
        return "digits"
    if not gpus:
        return SMALL_SPACE if dataset == "cifar10" else "folder"
    return "cifar10" if dataset in ("cifar10", "cifar100", "svhn") else "folder"


def overridden(request: SearchRequest, space: Space | None) -> tuple[Space | None, list[str]]:
    """The chosen space as the `--set`s of the request make it, and notes on what else that changed.

    Without a space, which the hardware chooses later, only looks whether they fit. Raises UsageError if they do not, or
    if what was asked for contradicts itself.
    """
    refuse_unfitting(request)
    if request.fixed and (request.enqueue or request.warm_start):
        option = "--enqueue" if request.enqueue else "--warm-start"
        raise UsageError(f"--fixed trains the space's [start] and nothing else: leave out {option}")
    if space is not None:
        return override(space, request.overrides)
    for gpus in (True, False):
        override(load_space(default_space(request.dataset, gpus=gpus)), request.overrides)
    return None, []


def new_spec(request: SearchRequest, name: str, data: DataSpec, fingerprint: str, space: Space) -> StudySpec:
    """The frozen spec: the command line goes before the space file, the space file before the defaults."""
    max_epochs = request.max_epochs or space.search.get("max_epochs", DEFAULT_MAX_EPOCHS)
    grace_period = space.search.get("grace_period", asha.default_grace_period(max_epochs))
    metric, costs = score_and_costs(request.objectives)
    if request.fixed:
        space = space.only_start()
        grace_period = max_epochs  # repetitions of one configuration are not compared
    return StudySpec(
        name=name,
        data=data,
        data_fingerprint=fingerprint,
        space=space,
        trials=request.trials or space.search.get("trials", DEFAULT_TRIALS),
        max_epochs=max_epochs,
        grace_period=grace_period,
        reduction_factor=space.search.get("reduction_factor", asha.REDUCTION_FACTOR),
        seed=request.seed,
        metric=metric,
        direction=objective(metric).direction,
        costs=costs,
        storage=str(request.storage),
        time_budget_s=request.time_budget_s,
        resources=request.resources,
        keep_all=request.keep_all,
        created_by=user_name(),
        enqueued=in_space(request.enqueue, space),
        sampler=request.sampler or default_sampler(costs),
        budget=checked_budget(request),
        asha=request.asha,
        log=request.log,
    )


def job_metadata(
    name: str, dataset: str, space: Space | None, trials: int | None, max_epochs: int | None
) -> dict[str, str]:
    """What Ray's page of jobs tells of the search. Without a space the hardware decides on one, once Ray is there."""
    values = {"study": name, "dataset": dataset, "space": space.source if space else "chosen by the hardware"}
    values["job_name"] = f"tuner: {name}"  # the key that Ray shows in the column "Name"
    if space is not None:
        trials = trials or space.search.get("trials", DEFAULT_TRIALS)
        max_epochs = max_epochs or space.search.get("max_epochs", DEFAULT_MAX_EPOCHS)
    numbers = {"trials": trials, "max_epochs": max_epochs}
    return values | {key: str(value) for key, value in numbers.items() if value is not None}
