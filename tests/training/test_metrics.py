from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
)

from tuner.training.metrics import classification_report, cross_entropy, validation_scores


def test_a_small_case_by_hand() -> None:
    report = classification_report(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0]), ("cat", "dog"))
    assert report == {
        "accuracy": 0.6,
        "balanced_accuracy": pytest.approx((1 / 2 + 2 / 3) / 2),
        "precision": pytest.approx((1 / 2 + 2 / 3) / 2),
        "recall": pytest.approx((1 / 2 + 2 / 3) / 2),
        "f1": pytest.approx((1 / 2 + 2 / 3) / 2),
        "per_class": {
            "cat": {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2},
            "dog": pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3}),
        },
        "confusion_matrix": [[1, 1], [1, 2]],
    }


def test_the_validation_scores_of_an_unbalanced_case_by_hand() -> None:
    # Eight cats, six of them found; two dogs, one found.
    labels, predictions = np.array([0] * 8 + [1] * 2), np.array([0] * 6 + [1] * 2 + [0, 1])
    assert validation_scores(labels, predictions, 2, 0.25) == {
        "val_accuracy": 7 / 10,
        "val_balanced_accuracy": pytest.approx((6 / 8 + 1 / 2) / 2),
        "val_macro_f1": pytest.approx((2 * 6 / (8 + 7) + 2 * 1 / (2 + 3)) / 2),
        "val_loss": 0.25,
    }


def test_who_always_says_the_largest_class_has_a_high_accuracy_and_no_more() -> None:
    labels = np.array([0] * 97 + [1, 1, 2])
    scores = validation_scores(labels, np.zeros_like(labels), 3, 1.0)
    assert (scores["val_accuracy"], scores["val_balanced_accuracy"]) == (0.97, pytest.approx(1 / 3))


def test_a_class_without_validation_pictures_is_in_no_mean_and_costs_what_it_takes_from_others() -> None:
    labels = np.array([0, 0, 1, 1])
    right = validation_scores(labels, labels, 3, 0.0)
    assert (right["val_balanced_accuracy"], right["val_macro_f1"]) == (1.0, 1.0)
    stray = validation_scores(labels, np.array([0, 2, 1, 1]), 3, 0.0)
    assert stray["val_balanced_accuracy"] == pytest.approx((1 / 2 + 1) / 2)
    assert stray["val_macro_f1"] == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize("seed", range(5))
def test_the_numbers_are_scikit_learns_also_for_classes_never_seen_or_predicted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, predictions = rng.integers(0, 6, 50), rng.integers(1, 7, 50)
    names = [f"class {number}" for number in range(8)]
    report = classification_report(labels, predictions, names)
    everything, there = range(8), np.unique(labels)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predictions, labels=everything, zero_division=0
    )
    assert report["accuracy"] == pytest.approx(accuracy_score(labels, predictions))
    assert report["confusion_matrix"] == confusion_matrix(labels, predictions, labels=everything).tolist()
    assert [report[key] for key in ("precision", "recall", "f1")] == pytest.approx(
        [precision[there].mean(), recall[there].mean(), f1[there].mean()]
    )
    found = np.array(
        [[entry[key] for key in ("precision", "recall", "f1", "support")] for entry in report["per_class"].values()]
    )
    assert np.allclose(found, np.stack([precision, recall, f1, support], axis=1))
    scores = validation_scores(labels, predictions, 8, 0.5)
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        balanced = balanced_accuracy_score(labels, predictions)
    assert scores == {
        "val_accuracy": report["accuracy"],
        "val_balanced_accuracy": pytest.approx(balanced),
        "val_macro_f1": pytest.approx(f1_score(labels, predictions, labels=there, average="macro")),
        "val_loss": 0.5,
    }
    assert scores["val_balanced_accuracy"] == report["balanced_accuracy"]


def test_the_cross_entropy_is_scikit_learns_and_finite_also_where_a_probability_is_none() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]], np.float32)
    for labels in ([0, 1, 2], [0, 1, 0]):
        expected = log_loss(labels, probabilities, labels=[0, 1, 2])
        assert cross_entropy(np.array(labels), probabilities) == pytest.approx(expected, rel=1e-6)


def test_a_report_is_json() -> None:
    report = classification_report(np.array([0, 1]), np.array([1, 1]), ("a", "b"))
    assert json.loads(json.dumps(report)) == report
