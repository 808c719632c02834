"""`tuner export-best`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.options import Name, Redis, open_store


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(name="export-best")(export_best)


def export_best(
    name: Name = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write (default NAME-best/).")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export in that folder.")] = False,
    redis: Redis = None,
) -> None:
    """Export the best model as ONNX and safetensors, measured once on the test split and checked against PyTorch."""
    from tuner import launch
    from tuner.export import export_best as write_export

    client, settings = open_store(redis)
    study = launch.load_study(client, name)
    folder = (out or Path(f"{study.spec.name}-best")).expanduser().absolute()
    exported = write_export(
        study,
        folder,
        cache=settings.cache,
        force=force,
        say=typer.echo,
        reread=lambda: launch.load_study(client, study.spec.name),
    )
    typer.echo(
        f"trial {exported.trial}, epoch {exported.epoch}: {study.spec.metric} {exported.validation_score:.4f}, "
        f"test accuracy {exported.test_accuracy:.4f}, test F1 (macro) {exported.test_f1:.4f}"
    )
    typer.echo(f"exported to {exported.folder}")
