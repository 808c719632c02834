"""`tuner replay`: whether a recorded search is the one that the rules make."""

from __future__ import annotations

import json

import typer

from tuner.cli.options import Json, Name, Redis, open_store

_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(replay)


def replay(name: Name = None, as_json: Json = False, redis: Redis = None) -> None:
    """Walk a study again: does each suggestion and each early stop follow from what was known then?

    Exit code 0: all as recorded, 1: something differs. Suggestions repeat with the versions that made them.
    """
    from rich.console import Console

    from tuner.launch import load_study
    from tuner.search.audit import audit
    from tuner.store.journal import RedisJournal

    client, _ = open_store(redis)
    spec = load_study(client, name).spec
    console = Console(stderr=True)
    with console.status("reading") as status:
        found = audit(
            spec,
            RedisJournal(client, spec.name),
            lambda done, entries: status.update(f"{done} of {entries} entries walked"),
        )
    if as_json:
        counts = {"suggestions": found.suggestions, "decisions": found.decisions}
        typer.echo(json.dumps({"name": spec.name, **counts, "differences": found.differences}, indent=2))
    else:
        taken = f"{found.suggestions} suggestions and {found.decisions} decisions at rungs taken again"
        typer.echo(f"study {spec.name}: {taken}, {len(found.differences) or 'none'} differ")
        for line in found.differences[:_SHOWN]:
            typer.echo(f"  {line}")
        if len(found.differences) > _SHOWN:
            typer.echo(f"  and {len(found.differences) - _SHOWN} more: see all with --json")
    if found.differences:
        raise typer.Exit(1)
