from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from tuner.training.metrics import classification_report


def test_a_small_case_by_hand() -> None:
    report = classification_report(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0]), ("cat", "dog"))
    assert report == {
        "accuracy": 0.6,
        "precision": pytest.approx((1 / 2 + 2 / 3) / 2),
        "recall": pytest.approx((1 / 2 + 2 / 3) / 2),
        "f1": pytest.approx((1 / 2 + 2 / 3) / 2),
        "per_class": {
            "cat": {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2},
            "dog": pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3}),
        },
        "confusion_matrix": [[1, 1], [1, 2]],
    }


@pytest.mark.parametrize("seed", range(5))
def test_the_numbers_are_scikit_learns_also_for_classes_never_seen_or_predicted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, predictions = rng.integers(0, 6, 50), rng.integers(1, 7, 50)
    names = [f"class {number}" for number in range(8)]
    report = classification_report(labels, predictions, names)
    everything = range(8)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predictions, labels=everything, zero_division=0
    )
    assert report["accuracy"] == pytest.approx(accuracy_score(labels, predictions))
    assert report["confusion_matrix"] == confusion_matrix(labels, predictions, labels=everything).tolist()
    assert [report[key] for key in ("precision", "recall", "f1")] == pytest.approx(
        [precision.mean(), recall.mean(), f1.mean()]
    )
    found = np.array(
        [[entry[key] for key in ("precision", "recall", "f1", "support")] for entry in report["per_class"].values()]
    )
    assert np.allclose(found, np.stack([precision, recall, f1, support], axis=1))


def test_a_report_is_json() -> None:
    report = classification_report(np.array([0, 1]), np.array([1, 1]), ("a", "b"))
    assert json.loads(json.dumps(report)) == report
