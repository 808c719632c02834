"""The README.md of an exported model: what it is, how to run it, what it was made of, and what its numbers mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuner.study import Study
from tuner.training.dataspec import DataInfo

_SNIPPET = """\
import json

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("model.onnx")
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])

picture = ImageOps.exif_transpose(Image.open("picture.png")).convert("{mode}")
picture = ImageOps.fit(picture, ({width}, {height}), Image.Resampling.BILINEAR)
images = np.asarray(picture, dtype=np.uint8).reshape(1, {height}, {width}, {channels})

(probabilities,) = session.run(["probabilities"], {{"images": images}})
for index in probabilities[0].argsort()[::-1][:3]:
    print(f"{{classes[index]}}: {{probabilities[0][index]:.3f}}")
"""


def render(
    study: Study,
    info: DataInfo,
    hyperparameters: Mapping[str, Any],
    metrics: Mapping[str, Any],
    versions: Mapping[str, str],
) -> str:
    """The model card as Markdown.

    info: of the data set; hyperparameters: all of the winner's; metrics: the content of metrics.json; versions:
    program -> version.
    """
    kind = "grey" if info.channels == 1 else "RGB"
    sections = [
        f"# {study.spec.name}: pictures of {_text(info.name)} in {len(info.classes)} classes",
        f"A convolutional network that tells {len(info.classes)} classes of {info.height} x {info.width} {kind} "
        f"pictures apart. It is the best of a hyperparameter search with tuner. On the test split it has accuracy "
        f"{metrics['accuracy']:.4f} and macro F1 {metrics['f1']:.4f}.",
        *_how_to_run(info),
        *_data(info, metrics),
        *_results(metrics),
        *_hyperparameters(hyperparameters, study.spec.space.dimensions),
        *_search(study),
        "## Made with",
        _bullets(f"{name} {version}" for name, version in versions.items()),
    ]
    return "\n\n".join(sections) + "\n"


def _how_to_run(info: DataInfo) -> list[str]:
    mode = "L" if info.channels == 1 else "RGB"
    snippet = _SNIPPET.format(mode=mode, height=info.height, width=info.width, channels=info.channels)
    return [
        "## Run it",
        "With `pip install onnxruntime pillow`, in this folder, on a file `picture.png`:",
        f"```python\n{snippet}```",
        "Any number of pictures can go in at once; the normalisation is inside the model. In PyTorch, "
        "`tuner.exported_model.load_exported(folder)` gives the same function as an `nn.Module`.",
        _bullets(
            [
                "`model.onnx`: input `images`, uint8 N x height x width x channels; output `probabilities`, float32 "
                "N x classes; its metadata name the classes, the study and the trial",
                "`weights.safetensors`, `config.json`: the same model for PyTorch",
                "`labels.txt`: the classes in the order of the probabilities, one a line",
                "`metrics.json`: all numbers of this page, the confusion matrix, and checksums",
            ]
        ),
    ]


def _data(info: DataInfo, metrics: Mapping[str, Any]) -> list[str]:
    colours = "grey" if info.channels == 1 else "RGB"
    return [
        "## Data",
        f"{_text(info.name)}: {info.train_size} pictures to train on, {info.val_size} to validate, "
        f"{metrics['test_size']} to test. The test split is {_text(metrics['test_source'])}.",
        f"Pictures were made {colours}, their shorter side was resized to {min(info.height, info.width)} pixels "
        f"(bilinear), and the centre of {info.height} x {info.width} was cut out, as the code above does. Give the "
        f"model pictures that were treated the same way.",
        "Classes: " + ", ".join(_text(name) for name in info.classes) + ".",
    ]


def _results(metrics: Mapping[str, Any]) -> list[str]:
    validation, parity = metrics["validation"], metrics["parity"]
    scores = ("precision", "recall", "f1")
    rows = [
        [_text(name), *(f"{row[score]:.4f}" for score in scores), row["support"]]
        for name, row in metrics["per_class"].items()
    ]
    mean = ["mean of the classes", *(f"{metrics[score]:.4f}" for score in scores), metrics["test_size"]]
    return [
        "## Results on the test split",
        _table(["class", *scores, "pictures"], [*rows, mean]),
        f"Accuracy {metrics['accuracy']:.4f}; {validation['metric']} {validation['score']:.4f} on the validation "
        f"split.",
        "The winner was chosen by its validation score, on one training run of each configuration: a second run "
        "would score somewhat differently, and the validation score of the best of many is too high on average. The "
        "test split played no part in the search; it was read once, for this card.",
        f"These numbers are those of `model.onnx` under onnxruntime. On {parity['images']} test pictures its "
        f"probabilities differ from PyTorch's by at most {parity['max_abs_difference']:.1e}.",
    ]


def _hyperparameters(hyperparameters: Mapping[str, Any], searched: Iterable[str]) -> list[str]:
    dimensions = set(searched)
    rows = [[name, value, "yes" if name in dimensions else ""] for name, value in hyperparameters.items()]
    return ["## Hyperparameters", _table(["name", "value", "searched"], rows)]


def _search(study: Study) -> list[str]:
    spec, best = study.spec, study.best
    assert best is not None, "an exported study has a best trial"
    trials = ", ".join(f"{count} {state}" for state, count in study.counts.items() if count)
    epochs = sum(len(trial.values) for trial in study.trials)
    seconds = sum(trial.seconds for trial in study.trials)
    return [
        "## The search",
        _bullets(
            [
                f"study {spec.name}, {study.state} when this was exported; the winner is trial {best.trial} at epoch "
                f"{best.epoch} of at most {spec.max_epochs}",
                # A space's path is of the searcher's machine and nobody else's business.
                f"space {_text(Path(spec.space.source).name)}: {', '.join(spec.space.dimensions)}",
                f"trials: {trials}; {study.trials_wanted} wanted",
                f"{epochs} epochs trained in {seconds:.0f} worker-seconds",
                f"ASHA with grace period {spec.grace_period} and reduction factor {spec.reduction_factor}",
                f"seed {spec.seed}",
            ]
        ),
    ]


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _text(name: str) -> str:
    """A name from outside, such that it can neither end a table's cell nor start markup."""
    return "".join(f"\\{letter}" if letter in "\\|`*_[]<>#" else letter for letter in name)
