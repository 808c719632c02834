"""The last lines of a search, and its exit code: the same wherever its driver ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from tuner.training.objectives import format_costs
from tuner.training.remarks import plural

if TYPE_CHECKING:
    from tuner.study import Study


def conclude(study: Study, *, why: str, signal: int | None, elsewhere: str = "") -> None:
    """Say how it ended and what comes next; the exit code says the same.

    why: it was stopped; empty if it was not. signal: the number of the signal that stopped it, if one did.
    elsewhere: address of the cluster where its driver and its checkpoints are, if they are not here.
    """
    counts = ", ".join(f"{count} {state}" for state, count in study.counts.items() if count)
    best = study.best
    name = study.spec.name
    if best is not None:
        typer.echo(f"best: trial {best.trial}, {study.spec.metric} {best.value:.4f} at epoch {best.epoch}")
    for line in front_lines(study):
        typer.echo(line)
    typer.echo(f"study {name}: {counts or 'no trial started'}")
    if study.state != "complete":
        typer.echo(
            f"stopped{f' ({why})' if why else ''}; nothing is lost, go on with `{resume_command(study, elsewhere)}`"
        )
    if best is not None:
        where = f" on a machine that sees {study.spec.storage}" if elsewhere else ""
        typer.echo(f"export the best model with `tuner export-best {name}`{where}")
        if len(study.front) > 1:
            typer.echo("another one of the front with --prefer OBJECTIVE, 'OBJECTIVE<=LIMIT' or TRIAL")
    if signal is not None:
        raise typer.Exit(128 + signal)
    if best is None and study.state == "complete":
        typer.echo(f"error: {no_weights(name)}", err=True)
        raise typer.Exit(1)


def front_lines(study: Study) -> list[str]:
    """The front of several objectives, a line for each trial of it."""
    front = study.front
    if not front:
        return []
    lines = [f"front of {', '.join(study.spec.objectives)}: {plural(len(front), 'trial')}, none beaten in all of them"]
    for best in front:
        lines.append(f"  trial {best.trial}: {study.spec.metric} {best.value:.4f}, {format_costs(best.costs)}")
    return lines


def no_weights(name: str) -> str:
    """The last line of a search that ended without a model."""
    return f"no trial has weights to export; see why with `tuner trials {name}`"


def resume_command(study: Study, elsewhere: str = "") -> str:
    """The command that goes on with the study, on the cluster at `elsewhere` if that is not empty."""
    from tuner.ledger import is_used_up

    ledger = study.ledger
    budget = f" --budget {ledger.larger}" if ledger is not None and is_used_up(study) else ""
    return f"tuner resume {study.spec.name}{budget}{f' --address {elsewhere}' if elsewhere else ''}"
