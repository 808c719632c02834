"""What a classifier got right and wrong.

Shapes: N pictures, K classes. Symbols: n_c pictures of class c, p_c predictions of it, t_c of them right.

A class without pictures has nothing to be recalled, so means over the classes are means over those with pictures. Then
all trials of a search are averaged over the same classes, and to give pictures to a class that has none costs what it
takes from the others. It is what scikit-learn does with `labels` set to those classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def validation_scores(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], classes: int, loss: float
) -> dict[str, float]:
    """All objectives (`objectives.OBJECTIVES`) of a network that said `predictions` (both N, values 0..K-1) of pictures
    that are `labels`, its mean cross-entropy being `loss` in nats.

    val_accuracy: sum t_c / N.
    val_balanced_accuracy: mean of the recalls t_c / n_c (Brodersen et al. 2010, "The Balanced Accuracy and Its
        Posterior Distribution", there for two classes; scikit-learn's `balanced_accuracy_score`).
    val_macro_f1: mean of the classes' F1 = 2 t_c / (n_c + p_c), which is the harmonic mean of precision t_c / p_c and
        recall (Opitz & Burst 2019, "Macro F1 and Macro F1", their averaged F1; scikit-learn's `f1_score` with
        `average="macro"`).
    val_loss: `loss` as it is, each picture counting the same.
    """
    hits = np.bincount(labels[labels == predictions], minlength=classes)
    pictures = np.bincount(labels, minlength=classes)
    said = np.bincount(predictions, minlength=classes)
    return {
        "val_accuracy": int(hits.sum()) / len(labels),
        "val_balanced_accuracy": _mean(_ratio(hits, pictures), pictures),
        "val_macro_f1": _mean(_ratio(2 * hits, pictures + said), pictures),
        "val_loss": loss,
    }


def cross_entropy(labels: NDArray[np.int64], probabilities: NDArray[np.floating[Any]]) -> float:
    """Mean of -log(probability of the label) in nats, of N labels and N x K probabilities. A probability too small for
    its type counts as that type's epsilon, as in scikit-learn's `log_loss`."""
    of_labels = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(of_labels, np.finfo(probabilities.dtype).eps), dtype=np.float64).mean())


def classification_report(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, Any]:
    """Compare `predictions` with `labels` (both N, values 0..K-1, K = len(classes)); JSON-able.

    accuracy; precision, recall, f1: means over the classes (macro); balanced_accuracy: another name of that recall;
    per_class: {name: {precision, recall, f1, support}}, support in pictures; confusion_matrix: K x K counts, rows true,
    columns predicted. A ratio with nothing below the line is 0.
    """
    assert labels.shape == predictions.shape, (labels.shape, predictions.shape)
    count = len(classes)
    matrix = np.bincount(labels * count + predictions, minlength=count * count).reshape(count, count)
    hits, pictures, said = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    precision, recall, f1 = _ratio(hits, said), _ratio(hits, pictures), _ratio(2 * hits, pictures + said)
    per_class = {
        name: {
            "precision": float(precision[index]),
            "recall": float(recall[index]),
            "f1": float(f1[index]),
            "support": int(pictures[index]),
        }
        for index, name in enumerate(classes)
    }
    return {
        "accuracy": float(hits.sum() / max(1, matrix.sum())),
        "balanced_accuracy": _mean(recall, pictures),
        "precision": _mean(precision, pictures),
        "recall": _mean(recall, pictures),
        "f1": _mean(f1, pictures),
        "per_class": per_class,
        "confusion_matrix": matrix.tolist(),
    }


def _mean(of_classes: NDArray[np.float64], pictures: NDArray[Any]) -> float:
    return float(of_classes[pictures > 0].mean()) if pictures.any() else 0.0


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> NDArray[np.float64]:
    ratios = np.zeros(len(below))
    np.divide(above, below, out=ratios, where=below != 0)
    return ratios
