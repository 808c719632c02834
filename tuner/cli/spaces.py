"""`tuner spaces`: look at the shipped search spaces and check one's own."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tuner.cli.options import Json

spaces = typer.Typer(help="Search spaces: list the shipped ones, show one, check a file.", no_args_is_help=True)

Space = Annotated[str, typer.Argument(metavar="FILE|NAME", help="A TOML file or the name of a shipped space.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.add_typer(spaces, name="spaces")


@spaces.command(name="list")
def list_spaces() -> None:
    """The shipped spaces."""
    from tuner.space import load_space, shipped_spaces

    for name in shipped_spaces():
        space = load_space(name)
        typer.echo(f"{name}: {', '.join(space.dimensions)}; up to {space.search.get('max_epochs', 27)} epochs")


@spaces.command()
def show(space: Space, as_json: Json = False) -> None:
    """What a space searches, what it holds constant, and what is left at its default."""
    from tuner.space import load_space
    from tuner.training import config

    loaded = load_space(space)
    if as_json:
        typer.echo(json.dumps(loaded.as_dict(), indent=2))
        return
    for name, table in loaded.dimensions.items():
        if table["type"] == "choice":
            bounds = "one of " + ", ".join(map(str, table["choices"]))
        else:
            extra = " on a log scale" if table["log"] else f" in steps of {table['step']}" if table["step"] else ""
            bounds = f"{table['type']} from {table['low']} to {table['high']}{extra}"
        typer.echo(f"{name}: {bounds}")
    for name, value in loaded.constants.items():
        typer.echo(f"{name} = {value}")
    for name, value in config.Hyperparameters().as_dict().items():
        if name not in loaded.dimensions and name not in loaded.constants:
            typer.echo(f"{name} = {value} (default)")


@spaces.command()
def check(space: Space) -> None:
    """Check a space file; says what is wrong with it, if anything is."""
    from tuner.space import load_space

    loaded = load_space(space)
    typer.echo(f"{space} is a valid search space with {len(loaded.dimensions)} dimensions")
