"""`tuner attach` and `tuner logs`: a search that runs elsewhere, from any machine that reaches Redis and Ray."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.cli.concluding import conclude, no_weights, resume_command
from tuner.cli.options import Dashboard, Insecure, Name, Redis, open_store
from tuner.errors import ClusterError, TunerError, UsageError
from tuner.ray_http import is_http

if TYPE_CHECKING:
    import redis as redis_module

    from tuner import ray_http
    from tuner.attach import Follower
    from tuner.logs import Log
    from tuner.store.jobs import JobRecord
    from tuner.study import Study

# Of drivers that have concluded: done, interrupted, terminated.
_CONCLUDED = {0: None, 128 + signal.SIGINT: signal.SIGINT, 128 + signal.SIGTERM: signal.SIGTERM}


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(attach)
    app.command()(logs)


def attach(name: Name = None, redis: Redis = None, address: Dashboard = None, insecure: Insecure = False) -> None:
    """Show a search that runs anywhere as if it ran here, and how it ends. Ctrl-C leaves it running (exit code 130)."""
    from tuner.store import catalog

    client, _ = open_store(redis)
    name = name or catalog.newest(client)
    watch_to_the_end(client, name, lambda job: open_dashboard(job, address, insecure))


def watch_to_the_end(
    client: redis_module.Redis, name: str, dashboard_of: Callable[[JobRecord], ray_http.Dashboard]
) -> None:
    """Show the study for as long as it runs, and conclude as its driver did; a Ctrl-C leaves it running."""
    from rich.console import Console

    from tuner.attach import watch
    from tuner.store.jobs import read_job

    try:
        study = watch(client, name, Console())
        job = read_job(client, name)
        if job is None:
            conclude(study, why="", signal=None)
        else:
            _conclude_job(study, job, dashboard_of)
    except KeyboardInterrupt:
        typer.echo(f"detached; study {name} goes on: `tuner attach {name}` comes back, `tuner stop {name}` ends it")
        raise typer.Exit(128 + signal.SIGINT) from None


def _conclude_job(study: Study, job: JobRecord, dashboard_of: Callable[[JobRecord], ray_http.Dashboard]) -> None:
    from tuner.jobs import job_log, stopped_why, wait_until_it_ends

    try:
        dashboard = dashboard_of(job)
        end = wait_until_it_ends(dashboard, job)
        log = job_log(dashboard, job)
    except TunerError as error:
        typer.echo(f"warning: what the driver said at its end cannot be read: {error}", err=True)
        conclude(study, why="", signal=None, elsewhere=job.address)
        return
    if end is None or end.exit_code in _CONCLUDED:
        signal_number = None if end is None or end.exit_code is None else _CONCLUDED[end.exit_code]
        why = stopped_why(log) or (end.line if end is not None and signal_number is not None else "")
        conclude(study, why=why, signal=signal_number, elsewhere=job.address)
    elif end.line == no_weights(study.spec.name):
        conclude(study, why="", signal=None, elsewhere=job.address)
    elif end.exit_code in (1, 2, 69):
        typer.echo(f"error: on the cluster: {end.line}", err=True)
        raise typer.Exit(end.exit_code)
    else:
        raise ClusterError(
            f"the driver on the cluster was killed (exit code {end.exit_code}); nothing is lost, go on with "
            f"`{resume_command(study, job.address)}`"
        )


def logs(
    name: Name = None,
    trial: Annotated[
        int | None,
        typer.Option(min=0, help="What the worker of this trial prints, instead of what the driver prints."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more until the search, or the trial, has ended.")
    ] = False,
    redis: Redis = None,
    address: Dashboard = None,
    insecure: Insecure = False,
) -> None:
    """What a search that was submitted to a cluster prints there: its driver, or with --trial the worker of a trial."""
    from tuner.attach import Follower
    from tuner.logs import show
    from tuner.spec import StudySpec
    from tuner.store import catalog
    from tuner.store.jobs import read_job

    client, _ = open_store(redis)
    name = name or catalog.newest(client)
    job = read_job(client, name)
    if trial is None:
        if job is None:
            raise UsageError(f"no job of a cluster ran study {name} last: its driver printed where it was started")
        found, is_over = _driver_log(open_dashboard(job, address, insecure), job)
    else:
        if job is None and not is_http(address):
            raise UsageError(
                f"no job of a cluster ran study {name} last: give its cluster by --address http://HOST:8265"
            )
        follower = Follower(client, StudySpec.from_json(catalog.read_spec(client, name)))
        found, is_over = _trial_logs(open_dashboard(job, address, insecure), follower, trial)
    try:
        show(found, is_over if follow else None)
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None


def _driver_log(dashboard: ray_http.Dashboard, job: JobRecord) -> tuple[list[Log], Callable[[], bool]]:
    from tuner.jobs import job_end
    from tuner.logs import driver_log

    return [driver_log(dashboard, job)], lambda: job_end(dashboard, job) is not None


def _trial_logs(dashboard: ray_http.Dashboard, follower: Follower, number: int) -> tuple[list[Log], Callable[[], bool]]:
    from tuner.logs import worker_logs

    follower.poll()
    study = follower.study
    if number >= len(study.trials):
        raise UsageError(f"study {study.spec.name} has no trial {number}; it has {len(study.trials)} so far, from 0 on")
    worker = study.trials[number].worker
    if worker is None:
        raise TunerError(f"trial {number} has not reported an epoch yet, so nobody knows where it runs")

    def is_over() -> bool:
        follower.poll()
        return follower.study.driver is None or follower.study.trials[number].is_finished

    return worker_logs(dashboard, worker, number), is_over


def open_dashboard(job: JobRecord | None, address: str | None, insecure: bool) -> ray_http.Dashboard:
    """The dashboard at `address` if that is one, else where `job` was submitted. Raises ClusterError, UsageError."""
    from tuner import ray_http

    chosen = address if is_http(address) else None
    if chosen is None:
        assert job is not None, "one of the two is there"
        chosen = job.address
    return ray_http.open_dashboard(chosen, insecure=insecure)
