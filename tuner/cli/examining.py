"""`tuner doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.options import Address, Redis
from tuner.settings import absolute, load_settings
from tuner.store.password import with_password


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(doctor)


def doctor(
    redis: Redis = None,
    address: Address = None,
    storage: Annotated[
        Path | None, typer.Option(envvar="TUNER_STORAGE", help="Folder of the checkpoints to look at.")
    ] = None,
) -> None:
    """Look for what is wrong with Redis, Ray, disks, versions and permissions, and say what to do about it."""
    from tuner.doctor import examine

    settings = load_settings()
    bad = 0
    for finding in examine(
        settings, redis_url=with_password(redis), storage=absolute(storage, settings.storage), address=address
    ):
        typer.echo(f"{'BAD' if finding.remedy else 'ok '} {finding.what}: {finding.seen}")
        if finding.remedy:
            bad += 1
            typer.echo(f"    {finding.remedy}")
    if bad:
        raise typer.Exit(1)
