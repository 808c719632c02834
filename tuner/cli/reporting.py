"""`tuner report` and `tuner show`: a study as a page, a trial in the terminal."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.options import Json, Name, Redis, open_store
from tuner.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(report)
    app.command()(show)


def report(
    name: Name = None,
    out: Annotated[Path | None, typer.Option(help="File to write (default NAME-report.html).")] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Folder of an export of this study to show too (default NAME-best/, if it is there)."),
    ] = None,
    redis: Redis = None,
) -> None:
    """Write a study as one HTML file, for people who were not there. It needs no network."""
    from tuner.report.exported import find_export
    from tuner.report.page import render, write
    from tuner.report.record import load_detail

    client, settings = open_store(redis)
    detail = load_detail(client, name)
    model = find_export(detail.study, bundle, settings.cache)
    path = out or Path(f"{detail.spec.name}-report.html")
    write(path, render(detail, model, now_s=time.time()))
    shown = f", with the model in {model.folder}" if model is not None else ""
    typer.echo(f"report of study {detail.spec.name}{shown}: {path} ({path.stat().st_size / 1e6:.1f} MB)")


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Study.")],
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="Number of the trial.", min=0)],
    as_json: Json = False,
    redis: Redis = None,
) -> None:
    """One trial: its parameters, its curve, where it ran, and why it ended."""
    from tuner.report.record import load_detail
    from tuner.trialview import as_dict, lines

    detail = load_detail(open_store(redis)[0], name)
    if trial >= len(detail.trials):
        numbers = f"they are numbered 0 to {len(detail.trials) - 1}" if detail.trials else "it has none yet"
        raise UsageError(f"study {name} has no trial {trial}: {numbers}")
    if as_json:
        typer.echo(json.dumps(as_dict(detail, trial), indent=2, allow_nan=False))
        return
    for line in lines(detail, trial):
        typer.echo(line)
