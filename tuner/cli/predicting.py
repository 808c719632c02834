"""`tuner predict`, `tuner evaluate`, `tuner explain`: what an exported model says of pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.cli.options import Json
from tuner.errors import DataError, UsageError

if TYPE_CHECKING:
    from tuner.bundle.evaluating import Evaluation

Bundle = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="Folder that `tuner export-best` wrote, or an ONNX file in it.")
]

_CLASSES_SHOWN = 20
_MISTAKES_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(predict)
    app.command()(evaluate)
    app.command()(explain)


def predict(
    bundle: Bundle,
    pictures: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Pictures, or folders of pictures.")],
    top: Annotated[int, typer.Option(min=1, help="Classes for each picture, the most probable first.")] = 3,
    as_json: Json = False,
) -> None:
    """Say what is in pictures of any size, mode and format. Exit code 1 if a file is no picture.

    The file predict.py in the bundle does the same without tuner, with what the bundle's requirements.txt names.
    """
    from tuner.bundle.opening import open_bundle
    from tuner.bundle.predict import answer

    if not answer(open_bundle(bundle), pictures, top, as_json=as_json):
        raise typer.Exit(1)


def evaluate(
    bundle: Bundle,
    place: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Folder of class folders, or a .csv file with the columns file,label."),
    ],
    as_json: Json = False,
) -> None:
    """Measure an exported model on labelled pictures: accuracy, precision, recall and F1 of each class, its mistakes.

    Of a folder with test/ or val/, or a CSV file with such lines, those are taken, as `tuner export-best` does; else
    all pictures. Files that are no pictures are named and left out.
    """
    from tuner.bundle.evaluating import evaluate as measure
    from tuner.bundle.opening import open_bundle

    evaluation = measure(open_bundle(bundle), place)
    if as_json:
        typer.echo(json.dumps(evaluation.as_dict(), indent=2))
    else:
        _show(evaluation)


def explain(
    bundle: Bundle,
    picture: Annotated[Path, typer.Argument(metavar="FILE", help="A picture.")],
    out: Annotated[Path, typer.Option(help="The PNG file to write.")],
) -> None:
    """Draw what in a picture speaks for the class that the model gives it (Grad-CAM). Needs PyTorch."""
    from tuner.bundle.opening import folder_of

    try:
        from tuner.bundle.explaining import explain as look
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UsageError(
            "Grad-CAM needs gradients, and so PyTorch, which is not installed: pip install torch"
        ) from None
    explanation = look(folder_of(bundle), picture)
    try:
        explanation.picture.save(out, format="PNG")
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror or error}") from error
    from tuner.bundle.predict import printable

    typer.echo(f"{out}: what speaks for {printable(explanation.predicted)}, probability {explanation.probability:.4f}")


def _show(evaluation: Evaluation) -> None:
    from tuner.bundle.evaluating import confusions
    from tuner.bundle.predict import printable

    left_out = f", {len(evaluation.left_out)} left out" if evaluation.left_out else ""
    typer.echo(
        f"{evaluation.pictures:,} pictures ({evaluation.which}{left_out}): accuracy {evaluation.accuracy:.4f}, "
        f"F1 (macro) {evaluation.f1:.4f}"
    )
    rows = [(printable(name), row) for name, row in evaluation.per_class.items() if row["support"]]
    width = max(5, *(len(name) for name, _ in rows))
    typer.echo(f"  {'class':<{width}}  precision  recall      f1  pictures")
    for name, row in rows:
        scores = f"{row['precision']:>9.4f}{row['recall']:>8.4f}{row['f1']:>8.4f}"
        typer.echo(f"  {name:<{width}}  {scores}{row['support']:>10,}")
    absent = [printable(name) for name, row in evaluation.per_class.items() if not row["support"]]
    if absent:
        typer.echo(f"no pictures of {', '.join(absent)}: the mean of F1 is that of the other classes")
    if len(evaluation.classes) <= _CLASSES_SHOWN:
        _show_matrix(evaluation)
    else:
        typer.echo("confused most often (--json has the whole matrix):")
        for label, predicted, count in confusions(evaluation)[:_MISTAKES_SHOWN]:
            typer.echo(f"{count:>8,}  {printable(label)} called {printable(predicted)}")
    if evaluation.mistakes:
        typer.echo(f"most confident of {len(evaluation.mistakes):,} mistakes:")
    for file, label, predicted, probability in evaluation.mistakes[:_MISTAKES_SHOWN]:
        typer.echo(f"  {probability:.4f}  {printable(file)}: {printable(label)} called {printable(predicted)}")
    for file, reason in evaluation.left_out:
        typer.echo(f"left out: {printable(file)} ({printable(reason)})", err=True)


def _show_matrix(evaluation: Evaluation) -> None:
    """Rows and columns are numbered by the places of the classes: names of any length do not fit above a column."""
    from tuner.bundle.predict import printable

    width = max(len(str(max(map(max, evaluation.confusion_matrix)))), 2) + 1
    numbers = range(len(evaluation.classes))
    typer.echo("confusion matrix (a row for each class, a column for what it was called):")
    typer.echo("     " + "".join(f"{number:>{width}}" for number in numbers))
    for number, row in zip(numbers, evaluation.confusion_matrix, strict=True):
        cells = "".join(f"{count:>{width}}" for count in row)
        typer.echo(f"  {number:>2} {cells}  {printable(evaluation.classes[number])}")
