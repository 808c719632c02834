"""`tuner export-best`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuner import api
from tuner.bundle.formats import DEFAULT
from tuner.cli.options import Name, Redis


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(name="export-best")(export_best)


def export_best(
    name: Name = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write (default NAME-best/).")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export in that folder.")] = False,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", help="onnx, pt2 (torch.export) or safetensors; may be repeated (default onnx and safetensors)."
        ),
    ] = None,
    half: Annotated[
        str | None, typer.Option(help="fp16 or bf16: a second file of each format in half precision.")
    ] = None,
    quantize: Annotated[
        str | None, typer.Option(help="int8: a second ONNX file in 8 bits, calibrated on validation pictures.")
    ] = None,
    max_drop: Annotated[
        float,
        typer.Option(
            min=0,
            max=100,
            help="Points of test accuracy that files of less precision may lose; nothing is written else.",
        ),
    ] = 0.5,
    redis: Redis = None,
) -> None:
    """Export the best model, measured once on the test split, each file checked against PyTorch and timed."""
    study = api.load(name, redis=redis)
    exported = study.export(
        out or f"{study.name}-best",
        force=force,
        formats=formats or DEFAULT,
        half=half,
        quantize=quantize,
        max_drop=max_drop,
    )
    typer.echo(
        f"trial {exported.trial}, epoch {exported.epoch}: {study.metric} {exported.validation_score:.4f}, "
        f"test accuracy {exported.test_accuracy:.4f}, test F1 (macro) {exported.test_f1:.4f}"
    )
    typer.echo(f"exported to {exported.folder}")
