"""`tuner search` and `tuner resume`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.cli.options import (
    Address,
    Insecure,
    Name,
    ProgressTimeout,
    Redis,
    TimeBudget,
    absolute,
    open_store,
    parse_seconds,
)

if TYPE_CHECKING:
    from tuner.search.stopping import Stop
    from tuner.spec import Resources
    from tuner.study import Study

_GPUS_HELP = "GPUs to use at once; 0 trains on CPUs; all that the cluster has by default."
_PER_GPU_HELP = "Trials that share one GPU (default 1)."
_WORKERS_HELP = "Trials at once on CPUs; torch gets cores // workers threads each (default 2, at most one a core)."


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(search)
    app.command()(resume)


def search(
    dataset: Annotated[
        str,
        typer.Argument(
            help="digits, mnist, fashion_mnist, cifar10, cifar100, svhn, or a folder with train/[val/]test/CLASS/ "
            "or CLASS/ folders of pictures."
        ),
    ],
    space: Annotated[
        str | None,
        typer.Option(
            envvar="TUNER_SPACE",
            metavar="FILE|NAME",
            help="Search space: a TOML file or one of `tuner spaces list`; chosen by data set and device by default.",
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
    trials_per_gpu: Annotated[int, typer.Option(envvar="TUNER_TRIALS_PER_GPU", min=1, help=_PER_GPU_HELP)] = 1,
    workers: Annotated[int | None, typer.Option(envvar="TUNER_WORKERS", min=1, help=_WORKERS_HELP)] = None,
    time_budget: TimeBudget = None,
    progress_timeout: ProgressTimeout = None,
    name: Annotated[
        str | None,
        typer.Option(envvar="TUNER_NAME", help="Name of the study; by default the data set's, then NAME-2 and so on."),
    ] = None,
    redis: Redis = None,
    insecure: Insecure = False,
    address: Address = None,
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
    image_size: Annotated[
        int | None,
        typer.Option(
            envvar="TUNER_IMAGE_SIZE",
            help="Side in pixels that pictures are resized and cropped to (default 32 if all are that small, else 64).",
        ),
    ] = None,
) -> None:
    """Search for the best CNN on a data set; everything found is kept, whatever happens."""
    from rich.console import Console

    from tuner import launch
    from tuner.spec import Resources
    from tuner.submit import default_workers

    time_budget_s, progress_timeout_s = parse_seconds(time_budget), parse_seconds(progress_timeout)
    client, settings = open_store(redis, insecure=insecure)
    request = launch.SearchRequest(
        dataset=dataset,
        resources=Resources(gpus=gpus, trials_per_gpu=trials_per_gpu, workers=workers or default_workers()),
        storage=absolute(storage, settings.storage),
        data_dir=absolute(data_dir, settings.data_dir),
        space=space,
        trials=trials,
        max_epochs=max_epochs,
        time_budget_s=time_budget_s,
        name=name,
        address=address,
        seed=seed,
        keep_all=keep_all,
        image_size=image_size,
        progress_timeout_s=progress_timeout_s,
        insecure=insecure,
    )
    _conclude(*launch.search(request, client, settings, Console()))


def resume(
    name: Name = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials in all, finished ones included.")] = None,
    max_epochs: Annotated[
        int | None, typer.Option(min=1, help="More epochs for a complete trial: the best ones go on as new trials.")
    ] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="GPUs to use at once from now on.")] = None,
    trials_per_gpu: Annotated[int | None, typer.Option(min=1, help="Trials that share one GPU from now on.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Trials at once on CPUs from now on.")] = None,
    time_budget: TimeBudget = None,
    progress_timeout: ProgressTimeout = None,
    wait: Annotated[
        str | None, typer.Option(metavar="TIME", help="Wait so long for another driver of the study to end, e.g. 60s.")
    ] = None,
    redis: Redis = None,
    insecure: Insecure = False,
    address: Address = None,
) -> None:
    """Go on with a study after any end: nothing finished is done again, what was in flight goes on."""
    from rich.console import Console

    from tuner import launch
    from tuner.store import catalog

    time_budget_s, wait_s = parse_seconds(time_budget), parse_seconds(wait) or 0.0
    client, settings = open_store(redis, insecure=insecure)
    changes = {"gpus": gpus, "trials_per_gpu": trials_per_gpu, "workers": workers}
    named = {key: value for key, value in changes.items() if value is not None}

    def change(resources: Resources) -> Resources:
        return replace(resources, **named)

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
        wait_s=wait_s,
        change=change,
    )
    _conclude(study, stop)


def _conclude(study: Study, stop: Stop) -> None:
    """Say how it ended and what comes next; the exit code says the same."""
    counts = ", ".join(f"{count} {state}" for state, count in study.counts.items() if count)
    best = study.best
    name = study.spec.name
    if best is not None:
        typer.echo(f"best: trial {best.trial}, {study.spec.metric} {best.value:.4f} at epoch {best.epoch}")
    typer.echo(f"study {name}: {counts or 'no trial started'}")
    if study.state != "complete":
        why = f" ({stop.why})" if stop.why else ""
        typer.echo(f"stopped{why}; nothing is lost, go on with `tuner resume {name}`")
    if best is not None:
        typer.echo(f"export the best model with `tuner export-best {name}`")
    if stop.signal is not None:
        raise typer.Exit(128 + stop.signal)
    if best is None and study.state == "complete":
        typer.echo(f"error: no trial has weights to export; see why with `tuner trials {name}`", err=True)
        raise typer.Exit(1)
