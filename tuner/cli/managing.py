"""`tuner stop`, `tuner delete` and `tuner store`: what happens to studies and to the private Redis."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.options import Name, Redis, open_store
from tuner.errors import TunerError, UsageError
from tuner.settings import load_settings

store = typer.Typer(help="The private Redis of this user, used when no --redis is given.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(stop)
    app.command()(delete)
    app.add_typer(store, name="store")


def stop(
    name: Name = None,
    now: Annotated[bool, typer.Option("--now", help="Do not wait for the running epochs.")] = False,
    redis: Redis = None,
) -> None:
    """Ask the driver of a study to stop, from any machine that reaches the store; `tuner resume` goes on."""
    from tuner.store import catalog

    client, _ = open_store(redis)
    name = name or catalog.newest(client)
    if catalog.request_stop(client, name, now):
        typer.echo(f"asked study {name} to stop; go on with `tuner resume {name}`")
    else:
        typer.echo(f"study {name} does not run")


def delete(
    name: Name = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; NAME must be given then.")] = False,
    redis: Redis = None,
) -> None:
    """Delete a study: its record and its checkpoints. Refused while a driver runs it."""
    from tuner.store import catalog

    if yes and name is None:
        raise UsageError("--yes needs NAME: nothing is deleted unasked because it happens to be the newest")
    client, _ = open_store(redis)
    name = name or catalog.newest(client)
    folder = _checkpoint_folder(catalog.read_spec(client, name), name)
    if not yes and not _confirmed(f"delete study {name} and its checkpoints{f' in {folder}' if folder else ''}?"):
        typer.echo("nothing is deleted")
        raise typer.Exit(1)
    catalog.delete_study(client, name)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            raise TunerError(f"study {name} is deleted, but not its checkpoints in {folder}: delete that folder")
    typer.echo(f"deleted study {name}")


def _checkpoint_folder(spec_json: str, name: str) -> Path | None:
    """Where its checkpoints are; None if the spec cannot be read, which must not keep the study from being deleted."""
    from tuner.spec import StudySpec

    try:
        return Path(StudySpec.from_json(spec_json).storage) / name
    except TunerError as error:
        typer.echo(f"warning: {error}; its checkpoints, if there are any, are not deleted", err=True)
        return None


def _confirmed(question: str) -> bool:
    try:
        return typer.confirm(question)
    except typer.Abort:
        raise UsageError(
            "nobody answered, so nothing is deleted: give NAME and --yes to delete without a question"
        ) from None


@store.command()
def start() -> None:
    """Start it, if it does not run; the other commands do so by themselves."""
    from tuner.store import embedded

    typer.echo(f"running at {embedded.ensure_running(load_settings().home)}")


@store.command(name="stop")
def stop_store() -> None:
    """Stop it; what it holds is on disk. Refused while a study runs."""
    from tuner.store import catalog, client, embedded, lease

    home = load_settings().home
    if not embedded.is_running(home):
        typer.echo("it does not run")
        return
    connection = client.connect(embedded.ensure_running(home))
    for name, _, _ in catalog.list_studies(connection):
        if lease.holder(connection, name) is not None:
            raise TunerError(f"study {name} runs and needs its store: stop it first with `tuner stop {name}`")
    embedded.stop(home)
    typer.echo("stopped")


@store.command()
def path() -> None:
    """Print the folder that holds everything of this user: the private Redis, checkpoints, data, decoded data."""
    typer.echo(load_settings().home)
