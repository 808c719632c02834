"""The exported model that a user names: a bundle's folder, or one of the ONNX files in it."""

from __future__ import annotations

from pathlib import Path

from tuner.bundle.predict import Classifier, ModelError
from tuner.errors import UsageError

ONNX_FILE = "model.onnx"


def open_bundle(bundle: Path) -> Classifier:
    """The model of the folder `bundle`, its `model.onnx`, or of an ONNX file in one. Raises UsageError if there is
    none."""
    if not bundle.exists():
        raise UsageError(f"no folder {bundle}: give one that `tuner export-best` wrote")
    path = bundle / ONNX_FILE if bundle.is_dir() else bundle
    if not path.is_file():
        raise UsageError(f"{bundle} has no {ONNX_FILE}: give a folder that `tuner export-best` wrote with it")
    try:
        return Classifier(path)
    except ModelError as error:
        raise UsageError(str(error)) from error


def folder_of(bundle: Path) -> Path:
    """The folder, where one of its files was named."""
    return bundle if bundle.is_dir() else bundle.parent
