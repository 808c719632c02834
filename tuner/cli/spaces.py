"""`tuner spaces`: look at the shipped search spaces and check one's own."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.cli.options import Json, Model
from tuner.errors import UsageError

if TYPE_CHECKING:
    from tuner.space import Space
    from tuner.training.summary import LayerSummary

spaces = typer.Typer(help="Search spaces: list the shipped ones, show one, check a file.", no_args_is_help=True)

FileOrName = Annotated[
    str,
    typer.Argument(
        metavar="FILE|NAME|MODULE:FUNCTION",
        help="A TOML file, the name of a shipped space, or package.module:function.",
    ),
]


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
def show(
    space: FileOrName,
    input_shape: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="HxWxC",
            help="Pictures to show the layers for: height x width x channels (default: the space's).",
        ),
    ] = None,
    classes: Annotated[
        int | None, typer.Option(min=2, help="Classes to show the layers for (default: the space's, else 10).")
    ] = None,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """What a space searches, what it holds constant, what is left at its default, and the network of its [start]."""
    from tuner.configurations import describe_condition
    from tuner.space import load_space
    from tuner.training import config

    loaded = load_space(space, model or "")
    shape = None if input_shape is None else _parse_shape(input_shape)
    if as_json:
        typer.echo(json.dumps(loaded.as_dict(), indent=2))
        return
    if loaded.model:
        typer.echo(f"model = {loaded.model}")
    for name, table in loaded.dimensions.items():
        start = f"; starts with {loaded.start[name]}" if name in loaded.start else ""
        condition = f", only if {describe_condition(table)}" if "only_if" in table else ""
        typer.echo(f"{name}: {_bounds(table)}{condition}{start}")
    for name, value in loaded.constants.items():
        typer.echo(f"{name} = {value}")
    for name, value in config.Hyperparameters().as_dict().items():
        if not (name in loaded.dimensions or name in loaded.constants or (loaded.model and name in config.FAMILY)):
            typer.echo(f"{name} = {value} (default)")
    _show_network(loaded, shape, classes)


@spaces.command()
def check(space: FileOrName, model: Model = None) -> None:
    """Check a space file; says what is wrong with it, if anything is."""
    from tuner.space import load_space

    loaded = load_space(space, model or "")
    typer.echo(f"{space} is a valid search space with {len(loaded.dimensions)} dimensions")


def _bounds(table: dict[str, Any]) -> str:
    if table["type"] == "choice":
        return "one of " + ", ".join(map(str, table["choices"]))
    extra = " on a log scale" if table["log"] else f" in steps of {table['step']}" if table["step"] else ""
    return f"{table['type']} from {table['low']} to {table['high']}{extra}"


def _show_network(space: Space, shape: tuple[int, int, int] | None, classes: int | None) -> None:
    """The layers of the network at [start], or at the defaults of what is searched; nothing if no input is known."""
    made_for = space.input
    if shape is not None:
        height, width, channels = shape
    elif "size" in made_for:
        height = width = made_for["size"]
        channels = made_for.get("channels", 3)
    else:
        typer.echo(f"\nits layers: tuner spaces show {space.source} --input 32x32x3")
        return
    count = classes or made_for.get("classes", 10)
    layers, where = _layers(space, (channels, height, width), count)
    typer.echo(f"\nthe network at {where}, for pictures of {height} x {width} x {channels} in {count} classes:")
    for layer in layers:
        output = " x ".join(map(str, layer.output))
        typer.echo(f"  {layer.name:<26}{output:<18}{layer.parameters:>12,}".rstrip())
    total = sum(layer.parameters for layer in layers)
    typer.echo(f"  {'parameters':<44}{total:>12,}")


def _layers(space: Space, shape: tuple[int, int, int], classes: int) -> tuple[list[LayerSummary], str]:
    """The layers for pictures of `shape` (channels, height, width), and of which configuration they are."""
    if space.model:
        from tuner.chosen import parts_of

        return parts_of(space, shape, classes)
    from tuner.training.config import Hyperparameters
    from tuner.training.summary import summarise

    hp = Hyperparameters.from_params({**space.constants, **space.start})
    return summarise(hp, shape, classes), "[start]" if space.start else "the defaults of what is searched"


def _parse_shape(text: str) -> tuple[int, int, int]:
    """Height, width and channels out of "28x28x1"."""
    found = re.fullmatch(r"([1-9][0-9]{0,3})x([1-9][0-9]{0,3})x([13])", text.replace(" ", ""))
    if found is None:
        raise UsageError(
            f"--input {text} is not understood: give height x width x channels (1 for grey, 3 for colours), "
            "such as 28x28x1"
        )
    return int(found[1]), int(found[2]), int(found[3])
