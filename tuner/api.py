"""What `import tuner` offers to Python: search and load, by the functions that the command line calls.

The options of `search` are those of `tuner search`. Of the environment only what says where things are counts:
TUNER_HOME, TUNER_CACHE, and TUNER_REDIS with its password. Light to import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.durations import parse_seconds
from tuner.errors import UsageError
from tuner.handle import Study
from tuner.inprocess import console_for, guest, refuse_below_one, refuse_dashboard, refuse_unless_whole, store
from tuner.packing import PerGpu, parse_trials_per_gpu
from tuner.settings import absolute, load_settings

if TYPE_CHECKING:
    from tuner.space import Space


def search(
    dataset: str | Path,
    *,
    space: str | Path | Mapping[str, Any] | None = None,
    trials: int | None = None,
    max_epochs: int | None = None,
    gpus: int | None = None,
    strict_gpus: bool = False,
    trials_per_gpu: PerGpu | None = None,
    workers: int | None = None,
    time_budget: str | float | None = None,
    budget: str | None = None,
    progress_timeout: str | float | None = None,
    fixed: bool = False,
    name: str | None = None,
    redis: str | None = None,
    insecure: bool = False,
    address: str | None = None,
    storage: str | Path | None = None,
    data_dir: str | Path | None = None,
    keep_all: bool = False,
    seed: int = 0,
    image_size: int | None = None,
    strict_data: bool = False,
    set: Mapping[str, str | int | float | Sequence[Any]] | None = None,
    enqueue: Sequence[Mapping[str, Any]] | str | Path | None = None,
    warm_start: str | None = None,
    model: str | None = None,
    pretrained: bool = False,
    weights: str | Path | None = None,
    profile: bool = False,
    sampler: str | None = None,
    asha: str = "stop",
    log: Sequence[str] | None = None,
    objective: str | Sequence[str] | None = None,
    progress: bool = True,
) -> Study:
    """Search for the best CNN on a data set, and return the study when the search is done or was stopped.

    dataset: a name such as "cifar10" or "digits", a folder of pictures, or a CSV file.
    space: a TOML file, a name of `tuner spaces list`, or the tables of such a file as a dict.
    gpus: at once; 0 trains on CPUs, `workers` trials at once; None is all that there are. trials_per_gpu: how many
        share one, 1 unless given, or "auto".
    time_budget, progress_timeout: seconds, or such as "30m".
    budget: over all resumes: "20gpuh", "8cpuh" (of CPU cores), or "50 EUR at 2.5/gpuh".
    set: dimensions in place of the space's, e.g. {"lr": "log:1e-4:1e-1", "width": 32, "optimizer": ["sgd", "adamw"]}.
    enqueue: configurations to try first, or a TOML file of them. warm_start: name of an earlier study to learn from.
    model: "package.module:function" of yours, or "torchvision:resnet18"; `pretrained` and `weights`, a file, are for
        the latter.
    objective: what the search is for: "val_accuracy" (unless given), "val_balanced_accuracy", "val_macro_f1" or
        "val_loss"; in a list with "latency_ms" or "parameters" for the front of both.
    address: of a Ray cluster that this machine belongs to, HOST:PORT or "auto". Without it a Ray that this process is
        connected to is used, and stays connected; else a private one is started and ended.
    progress: show a live table in a terminal or a notebook, plain lines elsewhere; False prints nothing.
    The others are those of `tuner search --help`.

    Ctrl-C (the kernel's interrupt) or SIGTERM stops the search as `tuner stop` does, and this returns the study with
    what is there; both are as before afterwards. In another thread than the main one there are no signals. One search
    at a time runs in a process.

    Raises TunerError or one of its kinds (`tuner.errors`): UsageError, DataError, StudyExists, StoreError,
    ClusterError; Interrupted if a later Ctrl-C came while the search was being left.
    """
    from tuner import launch
    from tuner.request import SearchRequest
    from tuner.spec import Resources
    from tuner.submit import default_workers
    from tuner.training.objectives import DEFAULT_OBJECTIVE

    refuse_below_one(trials=trials, max_epochs=max_epochs)
    refuse_unless_whole(gpus=gpus, workers=workers, seed=seed, image_size=image_size)
    refuse_dashboard(address)
    settings = load_settings()
    request = SearchRequest(
        dataset=str(dataset),
        resources=Resources(
            gpus=gpus,
            trials_per_gpu=parse_trials_per_gpu(trials_per_gpu) or 1,
            workers=default_workers() if workers is None else workers,
        ),
        storage=absolute(storage, settings.storage),
        data_dir=absolute(data_dir, settings.data_dir),
        space=_space(space, model),
        trials=trials,
        max_epochs=max_epochs,
        time_budget_s=parse_seconds(time_budget),
        fixed=fixed,
        name=name,
        address=address,
        seed=seed,
        keep_all=keep_all,
        image_size=image_size,
        progress_timeout_s=parse_seconds(progress_timeout),
        insecure=insecure,
        strict_gpus=strict_gpus,
        strict_data=strict_data,
        overrides=tuple(f"{key}={_as_text(value)}" for key, value in (set or {}).items()),
        enqueue=_configurations(enqueue),
        warm_start=warm_start,
        model=model,
        pretrained=pretrained,
        weights=None if weights is None else Path(weights),
        profile=profile,
        sampler=sampler,
        asha=asha,
        budget=budget or "",
        log=tuple(log or ()),
        objectives=(objective,) if isinstance(objective, str) else tuple(objective or (DEFAULT_OBJECTIVE,)),
    )
    with guest(), store(redis, insecure=insecure) as client:
        record, stop = launch.search(request, client, settings, console_for(progress))
    return Study(record, redis, stop.why)


def load(name: str | None = None, *, redis: str | None = None) -> Study:
    """The study `name`, or the newest one. redis: URL of the store, as for `search`.

    Raises StudyNotFound, StoreError.
    """
    from tuner import launch

    with store(redis) as client:
        return Study(launch.load_study(client, name), redis)


def studies(*, redis: str | None = None) -> list[str]:
    """The names of all studies in the store, newest last. Raises StoreError."""
    from tuner.store import catalog

    with store(redis) as client:
        return [name for name, _, _ in catalog.list_studies(client)]


def _configurations(given: Sequence[Mapping[str, Any]] | str | Path | None) -> tuple[dict[str, Any], ...]:
    from tuner.enqueue import read_configurations

    if isinstance(given, str | Path):
        return read_configurations(Path(given))
    if isinstance(given, Mapping) or not all(isinstance(configuration, Mapping) for configuration in given or ()):
        raise UsageError(f"enqueue = {given!r} is not understood: give a file or a list of dictionaries")
    return tuple(dict(configuration) for configuration in given or ())


def _as_text(value: str | int | float | Sequence[Any]) -> str:
    """As --set has it; several values are choices."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(_as_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _space(given: str | Path | Mapping[str, Any] | None, model: str | None) -> str | Space | None:
    from tuner.space import check_space

    if isinstance(given, Mapping):
        return check_space({**given, **({"model": model} if model else {})}, source="of a dict")
    return None if given is None else str(given)
