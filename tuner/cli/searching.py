"""`tuner search` and `tuner resume`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.concluding import conclude
from tuner.cli.data import DATASET_HELP, IMAGE_SIZE_HELP
from tuner.cli.options import (
    Address,
    AshaOption,
    Budget,
    Detach,
    DryRun,
    Enqueue,
    Insecure,
    Log,
    Model,
    Name,
    ObjectiveOption,
    Overrides,
    PerGpuAnew,
    PerGpuText,
    Pretrained,
    Profile,
    ProgressTimeout,
    Redis,
    ResumedBudget,
    SamplerOption,
    StrictData,
    StrictGpus,
    TimeBudget,
    WarmStart,
    Weights,
    open_store,
)
from tuner.cli.submitting import Options, submit_resume, submit_search
from tuner.durations import parse_seconds
from tuner.errors import UsageError
from tuner.packing import parse_trials_per_gpu
from tuner.ray_http import is_http
from tuner.settings import absolute, load_settings
from tuner.training.objectives import DEFAULT_OBJECTIVE

_GPUS_HELP = "GPUs to use at once; 0 trains on CPUs; all that the cluster has by default."
_WORKERS_HELP = "Trials at once on CPUs; torch gets cores // workers threads each (default 2, at most one a core)."


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(search)
    app.command()(resume)


def search(
    dataset: Annotated[str, typer.Argument(help=DATASET_HELP)],
    space: Annotated[
        str | None,
        typer.Option(
            envvar="TUNER_SPACE",
            metavar="FILE|NAME|MODULE:FUNCTION",
            help="Search space: a TOML file, one of `tuner spaces list`, or package.module:function, which returns the "
            "same as a dictionary; chosen by data set and device by default.",
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(envvar="TUNER_TRIALS", min=1, help="Trials in all (default: the space's, else 32).")
    ] = None,
    max_epochs: Annotated[
        int | None,
        typer.Option(
            envvar="TUNER_MAX_EPOCHS", min=1, help="Epochs of a complete trial (default: the space's, else 27)."
        ),
    ] = None,
    gpus: Annotated[int | None, typer.Option(envvar="TUNER_GPUS", min=0, help=_GPUS_HELP)] = None,
    strict_gpus: StrictGpus = False,
    trials_per_gpu: PerGpuText = None,
    workers: Annotated[int | None, typer.Option(envvar="TUNER_WORKERS", min=1, help=_WORKERS_HELP)] = None,
    time_budget: TimeBudget = None,
    budget: Budget = None,
    progress_timeout: ProgressTimeout = None,
    fixed: Annotated[
        bool,
        typer.Option(
            "--fixed",
            envvar="TUNER_FIXED",
            help="Search nothing: train the space's [start] configuration for all epochs, once or --trials times with "
            "other seeds.",
        ),
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(envvar="TUNER_NAME", help="Name of the study; by default the data set's, then NAME-2 and so on."),
    ] = None,
    redis: Redis = None,
    insecure: Insecure = False,
    address: Address = None,
    detach: Detach = False,
    storage: Annotated[
        Path | None,
        typer.Option(
            envvar="TUNER_STORAGE",
            help="Folder of the checkpoints, which all machines see (default ~/.local/share/tuner/checkpoints).",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="TUNER_DATA_DIR",
            help="Folder that holds NAME/train/CLASS/ of named data sets, and where they are downloaded to "
            "(default ~/.local/share/tuner/data).",
        ),
    ] = None,
    keep_all: Annotated[
        bool, typer.Option("--keep-all", envvar="TUNER_KEEP_ALL", help="Keep the checkpoints of all trials.")
    ] = False,
    seed: Annotated[
        int, typer.Option(envvar="TUNER_SEED", min=0, help="Of the sampler, the split and the weights.")
    ] = 0,
    image_size: Annotated[int | None, typer.Option(envvar="TUNER_IMAGE_SIZE", help=IMAGE_SIZE_HELP)] = None,
    strict_data: StrictData = False,
    overrides: Overrides = None,
    enqueue: Enqueue = None,
    warm_start: WarmStart = None,
    model: Model = None,
    pretrained: Pretrained = False,
    weights: Weights = None,
    dry_run: DryRun = False,
    profile: Profile = False,
    sampler: SamplerOption = None,
    asha: AshaOption = "stop",
    log: Log = None,
    objective: ObjectiveOption = None,
) -> None:
    """Search for the best CNN on a data set; everything found is kept, whatever happens."""
    from rich.console import Console

    from tuner import launch
    from tuner.enqueue import read_configurations
    from tuner.request import SearchRequest
    from tuner.spec import Resources
    from tuner.submit import default_workers

    time_budget_s, progress_timeout_s = parse_seconds(time_budget), parse_seconds(progress_timeout)
    settings = load_settings()
    request = SearchRequest(
        dataset=dataset,
        resources=Resources(
            gpus=gpus, trials_per_gpu=parse_trials_per_gpu(trials_per_gpu) or 1, workers=workers or default_workers()
        ),
        storage=absolute(storage, settings.storage),
        data_dir=absolute(data_dir, settings.data_dir),
        space=space,
        trials=trials,
        max_epochs=max_epochs,
        time_budget_s=time_budget_s,
        fixed=fixed,
        name=name,
        address=address,
        seed=seed,
        keep_all=keep_all,
        image_size=image_size,
        progress_timeout_s=progress_timeout_s,
        insecure=insecure,
        strict_gpus=strict_gpus,
        strict_data=strict_data,
        overrides=tuple(overrides or ()),
        enqueue=() if enqueue is None else read_configurations(enqueue),
        warm_start=warm_start,
        model=model,
        pretrained=pretrained,
        weights=weights,
        profile=profile,
        sampler=sampler,
        asha=asha,
        budget=budget or "",
        log=tuple(log or ()),
        objectives=tuple(objective or (DEFAULT_OBJECTIVE,)),
    )
    if address is not None and is_http(address):
        if dry_run:
            raise UsageError(
                "--dry-run joins the cluster: give --address HOST:PORT of its head, from one of its machines"
            )
        options: Options = {
            "--trials": trials,
            "--max-epochs": max_epochs,
            "--fixed": fixed,
            "--gpus": gpus,
            "--strict-gpus": strict_gpus,
            "--trials-per-gpu": trials_per_gpu,
            "--workers": workers,
            "--time-budget": time_budget,
            "--progress-timeout": progress_timeout,
            "--insecure": insecure,
            "--storage": storage,
            "--data-dir": data_dir,
            "--keep-all": keep_all,
            "--seed": seed,
            "--image-size": image_size,
            "--strict-data": strict_data,
            "--set": request.overrides,
            "--warm-start": warm_start,
            "--model": model,
            "--pretrained": pretrained,
            "--weights": weights,
            "--profile": profile,
            "--sampler": sampler,
            "--asha": asha,
            "--budget": budget,
            "--log": request.log,
            "--objective": request.objectives,
        }
        submit_search(request, options, redis=redis, address=address, detach=detach)
        return
    _refuse_detach(detach)
    if request.log:
        from tuner.search.loggers import refuse_missing

        refuse_missing(request.log)
    client, _ = open_store(redis, insecure=insecure)
    if dry_run:
        launch.dry_run(request, client, settings, Console())
        return
    study, stop = launch.search(request, client, settings, Console())
    conclude(study, why=stop.why, signal=stop.signal)


def resume(
    name: Name = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials in all, finished ones included.")] = None,
    max_epochs: Annotated[
        int | None, typer.Option(min=1, help="More epochs for a complete trial: the best ones go on as new trials.")
    ] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="GPUs to use at once from now on.")] = None,
    strict_gpus: StrictGpus = False,
    trials_per_gpu: PerGpuAnew = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Trials at once on CPUs from now on.")] = None,
    time_budget: TimeBudget = None,
    budget: ResumedBudget = None,
    progress_timeout: ProgressTimeout = None,
    wait: Annotated[
        str | None, typer.Option(metavar="TIME", help="Wait so long for another driver of the study to end, e.g. 60s.")
    ] = None,
    redis: Redis = None,
    insecure: Insecure = False,
    address: Address = None,
    detach: Detach = False,
) -> None:
    """Go on with a study after any end: nothing finished is done again, what was in flight goes on."""
    from rich.console import Console

    from tuner import launch
    from tuner.request import resources_changed
    from tuner.store import catalog

    if address is not None and is_http(address):
        options: Options = {
            "--trials": trials,
            "--max-epochs": max_epochs,
            "--gpus": gpus,
            "--strict-gpus": strict_gpus,
            "--trials-per-gpu": trials_per_gpu,
            "--workers": workers,
            "--time-budget": time_budget,
            "--budget": budget,
            "--progress-timeout": progress_timeout,
            "--wait": wait,
            "--insecure": insecure,
        }
        submit_resume(name, options, redis=redis, address=address, insecure=insecure, detach=detach)
        return
    _refuse_detach(detach)
    time_budget_s, wait_s = parse_seconds(time_budget), parse_seconds(wait) or 0.0
    client, settings = open_store(redis, insecure=insecure)
    study, stop = launch.resume(
        name or catalog.newest(client),
        client,
        settings,
        Console(),
        trials=trials,
        max_epochs=max_epochs,
        time_budget_s=time_budget_s,
        progress_timeout_s=parse_seconds(progress_timeout),
        address=address,
        insecure=insecure,
        strict_gpus=strict_gpus,
        wait_s=wait_s,
        change=resources_changed(gpus=gpus, trials_per_gpu=parse_trials_per_gpu(trials_per_gpu), workers=workers),
        budget=budget,
    )
    conclude(study, why=stop.why, signal=stop.signal)


def _refuse_detach(detach: bool) -> None:
    if detach:
        raise UsageError("--detach is for searches that a cluster runs: give its dashboard, --address http://HOST:8265")
