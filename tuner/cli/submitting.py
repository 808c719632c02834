"""`tuner search` and `tuner resume` with --address http://...: the same command, run on the cluster as a Ray job."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tuner import __version__
from tuner.cli.attaching import watch_to_the_end
from tuner.cli.options import open_store
from tuner.durations import parse_seconds
from tuner.errors import UsageError

if TYPE_CHECKING:
    import redis

    from tuner.ray_http import Dashboard
    from tuner.request import SearchRequest
    from tuner.space import Space

# Option -> what was given; a tuple: so many times. None and False: not given, so that the cluster's environment and the
# defaults decide.
Options = Mapping[str, str | int | Path | bool | tuple[str, ...] | None]


def submit_search(request: SearchRequest, options: Options, *, redis: str | None, address: str, detach: bool) -> None:
    """Submit `tuner search` with the `options`, once all that can be checked here is; then attach to it.

    Folders are the cluster's, and so is the data set: the job looks at it. Raises UsageError, StoreError, ClusterError,
    StudyExists.
    """
    from tuner.chosen import sources_of
    from tuner.jobs import url_for_cluster
    from tuner.ray_http import check_address, open_dashboard
    from tuner.request import chosen_space, job_metadata, new_spec, overridden
    from tuner.space import shipped_spaces
    from tuner.store import catalog
    from tuner.store.keys import check_name
    from tuner.training.dataspec import DataSpec

    dataset = _dataset_there(request.dataset)
    for option in ("--storage", "--data-dir", "--weights"):
        _path_there(option, options[option])
    for option in ("--time-budget", "--progress-timeout"):
        parse_seconds(None if options[option] is None else str(options[option]))
    chosen = chosen_space(request)
    sources = sources_of(chosen)
    data = DataSpec(dataset=dataset, data_dir="", image_size=request.image_size, seed=request.seed)
    there_chosen, _ = overridden(request, chosen)
    if there_chosen is not None:
        new_spec(request, data.default_name, data, "", there_chosen)  # refuses what would be refused there
    address = check_address(address)
    there = url_for_cluster(redis, address)
    client, _ = open_store(redis, insecure=request.insecure)
    if request.name is not None:
        catalog.refuse_existing(client, check_name(request.name))
    if request.warm_start is not None:
        catalog.read_spec(client, check_name(request.warm_start))  # refuses one that is not there
    name = request.name or catalog.free_name(client, data.default_name)
    dashboard = open_dashboard(address, insecure=request.insecure)
    by_name = request.space in shipped_spaces()
    words = ["search", dataset, *(["--space", str(request.space)] if by_name else []), "--name", name]
    _run(
        dashboard,
        client,
        name,
        [*words, *_words(options), "--redis", there],
        space=None if by_name else chosen,
        enqueue=request.enqueue,
        sources=sources,
        metadata=job_metadata(name, dataset, chosen, request.trials, request.max_epochs),
        detach=detach,
    )


def submit_resume(
    name: str | None, options: Options, *, redis: str | None, address: str, insecure: bool, detach: bool
) -> None:
    """Submit `tuner resume` likewise. Raises what `submit_search` raises, StudyNotFound, LeaseHeld."""
    from tuner.jobs import url_for_cluster
    from tuner.ledger import budget_of_resume
    from tuner.ray_http import check_address, open_dashboard
    from tuner.request import job_metadata
    from tuner.spec import StudySpec
    from tuner.store import catalog, lease
    from tuner.store.journal import RedisJournal
    from tuner.study import read_study

    for option in ("--time-budget", "--progress-timeout", "--wait"):
        parse_seconds(None if options[option] is None else str(options[option]))
    address = check_address(address)
    there = url_for_cluster(redis, address)
    client, _ = open_store(redis, insecure=insecure)
    name = name or catalog.newest(client)
    spec = StudySpec.from_json(catalog.read_spec(client, name))
    study = read_study(spec, RedisJournal(client, name), None)
    budget_of_resume(study, None if options["--budget"] is None else str(options["--budget"]))  # refuses it here
    if options["--wait"] is None:
        lease.refuse_if_held(client, name)
    dashboard = open_dashboard(address, insecure=insecure)
    _run(
        dashboard,
        client,
        name,
        ["resume", name, *_words(options), "--redis", there],
        space=None,
        sources={},
        metadata=job_metadata(name, spec.data.dataset, spec.space, spec.trials, spec.max_epochs),
        detach=detach,
    )


def _run(
    dashboard: Dashboard,
    client: redis.Redis,
    name: str,
    words: list[str],
    *,
    space: Space | None,
    enqueue: tuple[dict[str, Any], ...] = (),
    sources: Mapping[str, bytes],
    metadata: Mapping[str, str],
    detach: bool,
) -> None:
    from rich.console import Console

    from tuner import jobs

    console = Console()
    with console.status("submitting"):
        job = jobs.submit(
            dashboard,
            name,
            [*words, "--address", "auto"],
            space=space,
            enqueue=enqueue,
            sources=sources,
            metadata=metadata,
        )
    typer.echo(f"job {job.submission_id} at {job.address}: tuner {__version__} travels with it")
    try:
        with console.status("waiting for the job to start"):
            jobs.wait_until_it_runs(dashboard, client, name, job)
        for line in jobs.announced(jobs.job_log(dashboard, job)):
            typer.echo(line)
    except KeyboardInterrupt:
        typer.echo(
            f"detached; the job {job.submission_id} goes on: `tuner attach {name}` once it has made study {name}, "
            f"`ray job stop --address {job.address} {job.submission_id}` ends it"
        )
        raise typer.Exit(128 + signal.SIGINT) from None
    if detach:
        typer.echo(f"study {name} runs: `tuner attach {name}` shows it, `tuner logs {name}`, `tuner stop {name}`")
    else:
        watch_to_the_end(client, name, lambda _job: dashboard)


def _words(options: Options) -> list[str]:
    words: list[str] = []
    for option, value in options.items():
        if value is True:
            words.append(option)
        elif isinstance(value, tuple):
            words += [word for each in value for word in (option, each)]
        elif value is not None and value is not False:
            words += [option, str(value)]
    return words


def _dataset_there(dataset: str) -> str:
    from tuner.training.dataspec import NAMED

    if dataset in NAMED:
        return dataset
    if not dataset.startswith("/"):
        names = ", ".join(NAMED)
        raise UsageError(
            f"data set {dataset!r}: give one of {names}, or the path of a folder on the cluster, from / on"
        )
    return dataset


def _path_there(option: str, path: object) -> None:
    if path is not None and not str(path).startswith("/"):
        raise UsageError(f"{option} {str(path)!r} is a folder of the cluster there: give its path from / on")
