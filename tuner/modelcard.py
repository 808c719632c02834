"""The README.md of an exported model: what it is, how to run it, what it was made of, and what its numbers mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuner import trust
from tuner.bundle.opening import ONNX_FILE
from tuner.study import Study
from tuner.training.dataspec import DataInfo
from tuner.training.modelspec import ModelSpec
from tuner.training.objectives import COSTS, format_costs, format_scores, objective
from tuner.training.remarks import plural

_SNIPPET = """\
from pathlib import Path

from predict import Classifier, top

classifier = Classifier(Path("model.onnx"))
for path, probabilities, error in classifier.predict([Path("picture.png")]):
    print(path, error or top(probabilities, classifier.classes, 3))
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
        f"{_network(study)} that tells {len(info.classes)} classes of {info.height} x {info.width} {kind} "
        f"pictures apart. {_chosen(metrics)} On the test split it has {_scores(metrics)}.",
        *_how_to_run(study.spec.model, metrics["models"]),
        *_data(info, metrics),
        *_results(metrics),
        *_speed(metrics),
        *_hyperparameters(hyperparameters, study.spec.space.dimensions),
        *_search(study, metrics),
        "## Made with",
        _bullets(f"{name} {version}" for name, version in versions.items()),
    ]
    return "\n\n".join(sections) + "\n"


def _chosen(metrics: Mapping[str, Any]) -> str:
    """By what it is the best."""
    by = objective(metrics["validation"]["metric"]).words
    if "front" not in metrics:
        return f"It is the best of a hyperparameter search with tuner by {by}."
    costs = metrics["front"]["costs"]
    wishes = " and ".join(f"`{text}`" for text in metrics["front"]["prefer"]) or f"the best {by}"
    few = " and ".join(COSTS[name].words for name in costs)
    return (
        f"A hyperparameter search with tuner for {by} and few {few} found "
        f"{plural(len(metrics['front']['trials']), 'network')} that no other one beats in all of them; this is one of "
        f"them, chosen for {wishes}. In the search it had {format_costs(costs)}."
    )


def _network(study: Study) -> str:
    """What kind of network it is, and what it began with."""
    model = study.spec.model
    if model is None:
        return "A convolutional network"
    if model.own:
        kept = f", whose source is in `model/` (SHA-256 {model.sha256[:12]}...)," if model.files else ""
        return f"A network built by the function `{model.name}`{kept}"
    if not model.weights:
        return f"torchvision's network `{model.function}`"
    # The path of a file is of the searcher's machine and nobody else's business.
    return (
        f"torchvision's network `{model.function}`, fine-tuned from the weights `{_text(Path(model.weights).name)}` "
        f"(SHA-256 {model.weights_sha256[:12]}...),"
    )


def _how_to_run(model: ModelSpec | None, files: Mapping[str, Any]) -> list[str]:
    load = f"load_exported(folder, {model.function})" if model is not None and model.own else "load_exported(folder)"
    source = ["`model/`: the source of the network"] if model is not None and model.own and model.files else []
    told = {
        "model.onnx": "input `images`, uint8 N x height x width x channels; output `probabilities`, float32 N x "
        "classes; the normalisation is inside; its metadata name the classes, the study and the trial",
        "model.pt2": "the same function for PyTorch, without the code of the network: "
        "`torch.export.load(file).module()`",
        "weights.safetensors": f"the weights for PyTorch; `tuner.exported_model.{load}` gives the same function as an "
        "`nn.Module`, with what `config.json` says",
    }
    without_tuner = [
        "In this folder; files and folders of pictures, of any size, mode and format:",
        "```sh\npip install -r requirements.txt\npython predict.py picture.png\n```",
        "The same in a program of yours:",
        f"```python\n{_SNIPPET}```",
    ]
    return [
        "## Run it",
        *(without_tuner if ONNX_FILE in files else []),
        _bullets(
            [
                *(f"`{name}`: {text}" for name, text in told.items() if name in files),
                *(f"`{name}`: the same in {entry['precision']}" for name, entry in files.items() if name not in told),
                *source,
                "`labels.txt`: the classes in the order of the probabilities, one a line",
                "`metrics.json`: all numbers of this page, the confusion matrix, and checksums",
                "`provenance.json`: where this comes from: study, parameters, seeds, data, versions, commit",
            ]
        ),
    ]


def _speed(metrics: Mapping[str, Any]) -> list[str]:
    sizes = list(next(iter(metrics["models"].values()))["latency"])
    header = ["file", "precision", "MB", "accuracy", "PyTorch's", "largest difference"]
    rows = [
        [
            name,
            entry["precision"],
            f"{entry['bytes'] / 1e6:.2f}",
            f"{entry['accuracy']:.4f}",
            f"{entry['accuracy_pytorch']:.4f}",
            f"{entry['parity']['max_abs_difference']:.1e}",
            *(f"{entry['latency'][size]['median_ms']:.3g} / {entry['latency'][size]['p99_ms']:.3g}" for size in sizes),
        ]
        for name, entry in metrics["models"].items()
    ]
    return [
        "## Size and speed",
        _table([*header, *(f"ms for {size}" for size in sizes)], rows),
        "Accuracy is that on the whole test split, beside that of the trained network in PyTorch; the largest "
        "difference is that of any probability. Milliseconds are those of one call with so many decoded pictures "
        f"(median / 99th percentile), on one core of {_text(metrics['machine']['cpu'])}.",
    ]


def _data(info: DataInfo, metrics: Mapping[str, Any]) -> list[str]:
    colours = "grey" if info.channels == 1 else "RGB"
    return [
        "## Data",
        f"{_text(info.name)}: {info.train_size} pictures to train on, {info.val_size} to validate, "
        f"{metrics['test_size']} to test. The test split is {_text(metrics['test_source'])}.",
        f"Pictures were made {colours}, their shorter side was resized to {min(info.height, info.width)} pixels "
        f"(bilinear), and the centre of {info.height} x {info.width} was cut out; transparent pixels are white, 16 "
        "bits become 8, EXIF rotation is undone.",
        "Classes: " + ", ".join(_text(name) for name in info.classes) + ".",
    ]


def _results(metrics: Mapping[str, Any]) -> list[str]:
    parity = metrics["parity"]
    scores = ("precision", "recall", "f1")
    rows = [
        [_text(name), *(f"{row[score]:.4f}" for score in scores), row["support"]]
        for name, row in metrics["per_class"].items()
    ]
    mean = ["mean of the classes", *(f"{metrics[score]:.4f}" for score in scores), metrics["test_size"]]
    return [
        "## Results on the test split",
        _table(["class", *scores, "pictures"], [*rows, mean]),
        f"In all: {_scores(metrics)}, loss {metrics['loss']:.4f}.{_on_validation(metrics['validation'])}",
        *trust.chosen(metrics),
        f"These numbers are those of `{metrics['file']}`. On {parity['images']} test pictures its "
        f"probabilities differ from PyTorch's by at most {parity['max_abs_difference']:.1e}.",
    ]


def _scores(metrics: Mapping[str, Any]) -> str:
    return (
        f"accuracy {metrics['accuracy']:.4f}, balanced accuracy {metrics['balanced_accuracy']:.4f} and macro F1 "
        f"{metrics['f1']:.4f}"
    )


def _on_validation(validation: Mapping[str, Any]) -> str:
    if not validation["scores"]:
        return ""
    scores = format_scores(validation["scores"])
    return f" On the validation split, where it was chosen by {validation['metric']}: {scores}."


def _hyperparameters(hyperparameters: Mapping[str, Any], searched: Iterable[str]) -> list[str]:
    dimensions = set(searched)
    rows = [[name, value, "yes" if name in dimensions else ""] for name, value in hyperparameters.items()]
    return ["## Hyperparameters", _table(["name", "value", "searched"], rows)]


def _search(study: Study, metrics: Mapping[str, Any]) -> list[str]:
    spec, epoch = study.spec, metrics["validation"]["epoch"]
    trials = ", ".join(f"{count} {state}" for state, count in study.counts.items() if count)
    epochs = sum(len(trial.values) for trial in study.trials)
    seconds = sum(trial.seconds for trial in study.trials)
    return [
        "## The search",
        _bullets(
            [
                f"study {spec.name}, {study.state} when this was exported; the winner is {trust.winner(metrics)} at "
                f"epoch {epoch} of at most {study.max_epochs}",
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
