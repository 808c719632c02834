"""The files of an export beside the model itself: what people and programs read of it, and the sources of a network of
the user's own.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from tuner import __version__, modelcard
from tuner.export_folder import CARD_FILE, LABELS_FILE, METRICS_FILE, sync
from tuner.retention import model_folder
from tuner.spec import StudySpec
from tuner.study import Study
from tuner.training.config import FAMILY
from tuner.training.dataspec import DataInfo


def write_sources(folder: Path, spec: StudySpec) -> None:
    """Write what the study keeps of a network of the user's: the weights are of no use without it."""
    for path in spec.model.files if spec.model is not None and spec.model.own else ():
        target = folder / "model" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((model_folder(spec.storage, spec.name) / path).read_bytes())
        sync(target)


def write_texts(
    folder: Path, study: Study, info: DataInfo, description: dict[str, Any], metrics: dict[str, Any]
) -> None:
    """Write the labels, the metrics and the model card. description: of the winner, as its checkpoint has it."""
    versions = {"tuner": __version__, "torch": torch.__version__} | {
        name: version(name) for name in ("onnx", "onnxruntime")
    }
    # Those of the built-in networks mean nothing to others.
    told = {key: value for key, value in description["hyperparameters"].items() if key not in FAMILY}
    described = {**told, **description["params"]} if "params" in description else description["hyperparameters"]
    texts = {
        LABELS_FILE: "".join(f"{name}\n" for name in info.classes),
        METRICS_FILE: json.dumps(metrics, indent=2, allow_nan=False) + "\n",
        CARD_FILE: modelcard.render(study, info, described, metrics, versions),
    }
    for name, text in texts.items():
        # Class names are names of folders, which need not be UTF-8.
        (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")
