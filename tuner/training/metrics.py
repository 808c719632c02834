"""What a classifier got right and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def classification_report(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, Any]:
    """Compare `predictions` with `labels` (both N, values 0..K-1, K = len(classes)); JSON-able.

    accuracy; precision, recall, f1: unweighted means over the classes (macro); per_class: {name: {precision, recall,
    f1, support}}, support in pictures; confusion_matrix: K x K counts, rows true, columns predicted. A ratio with
    nothing below the line is 0.
    """
    assert labels.shape == predictions.shape, (labels.shape, predictions.shape)
    count = len(classes)
    matrix = np.bincount(labels * count + predictions, minlength=count * count).reshape(count, count)
    hits = np.diag(matrix)
    precision = _ratio(hits, matrix.sum(axis=0))
    recall = _ratio(hits, matrix.sum(axis=1))
    f1 = _ratio(2 * precision * recall, precision + recall)
    per_class = {
        name: {
            "precision": float(precision[index]),
            "recall": float(recall[index]),
            "f1": float(f1[index]),
            "support": int(matrix[index].sum()),
        }
        for index, name in enumerate(classes)
    }
    return {
        "accuracy": float(hits.sum() / max(1, matrix.sum())),
        "precision": float(precision.mean()),
        "recall": float(recall.mean()),
        "f1": float(f1.mean()),
        "per_class": per_class,
        "confusion_matrix": matrix.tolist(),
    }


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> NDArray[np.float64]:
    ratios = np.zeros(len(below))
    np.divide(above, below, out=ratios, where=below != 0)
    return ratios
