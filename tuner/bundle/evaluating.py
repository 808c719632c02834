"""How good an exported model is on labelled pictures. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tuner.bundle.labelled import list_labelled
from tuner.bundle.predict import Classifier
from tuner.errors import DataError
from tuner.training.metrics import classification_report


class Mistake(NamedTuple):
    """A picture that got another class than its own, and the probability of that class."""

    file: str
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Evaluation:
    """What a model does on the pictures of a folder or a CSV file.

    which: of what is there: `all`, `test/`, `val/`, or lines of the CSV file. pictures: how many were measured on.
    accuracy: the share that got its own class. precision, recall, f1: means over the classes that have pictures here.
    per_class, confusion_matrix: see `classification_report`; all classes of the model are in them.
    mistakes: all, the most confident first. left_out: (file, reason) of those that are no pictures.
    """

    which: str
    pictures: int
    classes: tuple[str, ...]
    accuracy: float
    precision: float
    recall: float
    f1: float
    per_class: dict[str, dict[str, Any]]
    confusion_matrix: list[list[int]]
    mistakes: tuple[Mistake, ...]
    left_out: tuple[tuple[str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """What `tuner evaluate --json` prints."""
        left_out = [{"file": file, "reason": reason} for file, reason in self.left_out]
        return {**asdict(self), "mistakes": [one._asdict() for one in self.mistakes], "left_out": left_out}


def evaluate(classifier: Classifier, place: Path) -> Evaluation:
    """Measure `classifier` on the labelled pictures at `place`. Raises what `list_labelled` raises, and DataError if
    none of them can be read."""
    found = list_labelled(place, classifier.classes)
    names = [_below(path, place) for path in found.paths]
    labels: list[int] = []
    chosen: list[int] = []
    mistakes: list[Mistake] = []
    left_out: list[tuple[str, str]] = []
    for name, label, prediction in zip(names, found.labels, classifier.predict(found.paths), strict=True):
        if prediction.probabilities is None:
            left_out.append((name, prediction.error))
            continue
        best = int(prediction.probabilities.argmax())
        labels.append(label)
        chosen.append(best)
        if best != label:
            told = (classifier.classes[label], classifier.classes[best])
            mistakes.append(Mistake(name, *told, float(prediction.probabilities[best])))
    if not labels:
        raise DataError(
            f"none of the {len(left_out)} files at {place} can be read: {left_out[0][0]} ({left_out[0][1]})"
        )
    report = classification_report(np.array(labels), np.array(chosen), classifier.classes)
    return Evaluation(
        which=found.which,
        pictures=len(labels),
        classes=tuple(classifier.classes),
        accuracy=report["accuracy"],
        # A class without pictures has nothing to be recalled, and would drag the means down.
        **{score: _mean(report["per_class"], score) for score in ("precision", "recall", "f1")},
        per_class=report["per_class"],
        confusion_matrix=report["confusion_matrix"],
        mistakes=tuple(sorted(mistakes, key=lambda one: -one.probability)),
        left_out=tuple(left_out),
    )


def confusions(evaluation: Evaluation) -> Sequence[tuple[str, str, int]]:
    """(true class, class that was said, how often), the most frequent first; without those that are right."""
    classes, matrix = evaluation.classes, np.array(evaluation.confusion_matrix)
    np.fill_diagonal(matrix, 0)
    pairs = [
        (classes[row], classes[column], int(matrix[row, column])) for row, column in zip(*matrix.nonzero(), strict=True)
    ]
    return sorted(pairs, key=lambda pair: -pair[2])


def _mean(per_class: dict[str, dict[str, Any]], score: str) -> float:
    return float(np.mean([row[score] for row in per_class.values() if row["support"]]))


def _below(path: Path, place: Path) -> str:
    return str(path.relative_to(place if place.is_dir() else place.parent))
