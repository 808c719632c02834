"""`tuner export-best`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuner import api
from tuner.bundle.formats import DEFAULT
from tuner.cli.options import Address, Insecure, Name, Redis


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
    confirm: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="Train the K best configurations anew, and export the one with the highest mean score (3 with --seeds "
            "alone). Typed again, it goes on where it was.",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(metavar="S", help="Runs of each of them, with fresh seeds (3 with --confirm alone).")
    ] = None,
    prefer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OBJECTIVE|LIMIT|TRIAL",
            help="With several objectives, which trial of the front: the best by one of them, within a limit such as "
            "'latency_ms<=2', or a trial's number; may be repeated (default: the best score).",
        ),
    ] = None,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit", help="Train the winner once more, on training and validation pictures, before the test is read."
        ),
    ] = False,
    gpus: Annotated[int | None, typer.Option(min=0, help="GPUs to use at once for --confirm.")] = None,
    trials_per_gpu: Annotated[
        str | None, typer.Option(metavar="N|auto", help="Runs of --confirm that share one GPU, or auto.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Runs of --confirm at once on CPUs.")] = None,
    redis: Redis = None,
    insecure: Insecure = False,
    address: Address = None,
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
        confirm=confirm,
        seeds=seeds,
        prefer=prefer,
        refit=refit,
        gpus=gpus,
        trials_per_gpu=trials_per_gpu,
        workers=workers,
        insecure=insecure,
        address=address,
    )
    typer.echo(
        f"trial {exported.trial}, epoch {exported.epoch}: {_score(study.metric, exported.validation_score)}, "
        f"test accuracy {exported.test_accuracy:.4f}, test F1 (macro) {exported.test_f1:.4f}"
    )
    typer.echo(f"exported to {exported.folder}")


def _score(metric: str, score: float | None) -> str:
    return "refitted, so without a validation score" if score is None else f"{metric} {score:.4f}"
