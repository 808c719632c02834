"""What a search was asked for, and the frozen spec that it becomes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tuner import asha
from tuner.space import Space
from tuner.spec import Resources, StudySpec
from tuner.store.identity import user_name
from tuner.training.dataspec import DataSpec

DEFAULT_TRIALS = 32
DEFAULT_MAX_EPOCHS = 27
SMALL_SPACE = "cifar10-small"


@dataclass(frozen=True)
class SearchRequest:
    """What `tuner search` was asked for; None leaves a choice to the space file or to the defaults."""

    dataset: str
    resources: Resources
    storage: Path
    data_dir: Path
    space: str | None = None
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


def default_space(dataset: str, *, gpus: bool) -> str:
    """The shipped space for a data set: its own; on CPUs one with networks small enough for them."""
    if dataset == "digits":
        return "digits"
    if not gpus:
        return SMALL_SPACE if dataset == "cifar10" else "folder"
    return "cifar10" if dataset in ("cifar10", "cifar100", "svhn") else "folder"


def new_spec(request: SearchRequest, name: str, data: DataSpec, fingerprint: str, space: Space) -> StudySpec:
    """The frozen spec: the command line goes before the space file, the space file before the defaults."""
    max_epochs = request.max_epochs or space.search.get("max_epochs", DEFAULT_MAX_EPOCHS)
    grace_period = space.search.get("grace_period", asha.default_grace_period(max_epochs))
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
        reduction_factor=space.search.get("reduction_factor", 4),
        seed=request.seed,
        storage=str(request.storage),
        time_budget_s=request.time_budget_s,
        resources=request.resources,
        keep_all=request.keep_all,
        created_by=user_name(),
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
