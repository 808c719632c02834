"""The part of a bundle that predicts without tuner: `predict.py` in one file, and what it needs."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from pathlib import Path

from tuner.bundle import predict
from tuner.training import pixels

PREDICT_FILE, REQUIREMENTS_FILE = "predict.py", "requirements.txt"

_FUTURE = "from __future__ import annotations\n"
_HEADING = "# How a file becomes the pixels that the model gets: the rule that it was trained and tested with.\n"
_IMPORT = "from tuner.training.pixels import SUFFIXES, Broken, decode_bytes\n"


def write_predictor(folder: Path) -> None:
    """Write `predict.py`, which is the module of that name with `training.pixels` in the place of its import, and
    `requirements.txt` with the versions that the bundle was made with."""
    program, rule = inspect.getsource(predict), inspect.getsource(pixels)
    assert program.count(_IMPORT) == 1, "predict imports nothing else of ours"
    text = program.replace(_IMPORT, _HEADING + rule.partition(_FUTURE)[2].strip() + "\n")
    (folder / PREDICT_FILE).write_text(text, encoding="utf-8")
    lines = [f"{name}=={version(name)}\n" for name in ("numpy", "onnxruntime", "pillow")]
    (folder / REQUIREMENTS_FILE).write_text("".join(lines), encoding="utf-8")
