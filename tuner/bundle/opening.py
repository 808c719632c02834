"""The exported model that a user names: a bundle's folder, or one of the ONNX files in it."""

from __future__ import annotations

from pathlib import Path

from tuner.bundle.predict import Classifier, ModelError
from tuner.errors import UsageError
from tuner.export_folder import CONFIG_FILE

ONNX_FILE = "model.onnx"


def open_bundle(bundle: Path) -> Classifier:
    """The model of the folder `bundle`, its `model.onnx`, or of an ONNX file in one. Raises UsageError if there is
    none."""
    if not bundle.exists():
        raise _no_folder(bundle)
    path = bundle / ONNX_FILE if bundle.is_dir() else bundle
    if not path.is_file():
        raise UsageError(f"{bundle} has no {ONNX_FILE}: give a folder that `tuner export-best` wrote with it")
    try:
        return Classifier(path)
    except ModelError as error:
        raise UsageError(str(error)) from error


def folder_of(bundle: Path) -> Path:
    """The folder, where one of its files was named. Raises UsageError if it is none that was exported."""
    if not bundle.exists():
        raise _no_folder(bundle)
    folder = bundle if bundle.is_dir() else bundle.parent
    if not (folder / CONFIG_FILE).is_file():
        raise UsageError(f"{folder} has no {CONFIG_FILE}: give a folder that `tuner export-best` wrote")
    return folder


def _no_folder(bundle: Path) -> UsageError:
    return UsageError(f"no folder {bundle}: give one that `tuner export-best` wrote")
