from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tuner.bundle import checking
from tuner.bundle.checking import check, latency, machine, run_all
from tuner.bundle.formats import Variant
from tuner.errors import ExportError

LABELS = np.arange(200) % 2
EXACT = np.eye(2, dtype=np.float32)[LABELS]


def with_wrong(count: int) -> np.ndarray:
    """The probabilities with so many of the 200 pictures in the other class."""
    found = EXACT.copy()
    found[:count] = found[:count, ::-1]
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model-int8.onnx"
    path.write_bytes(b"12345")
    return path


def test_a_file_of_less_precision_may_lose_as_many_points_as_are_allowed(file):
    entry = check(file, Variant("onnx", "int8"), with_wrong(1), EXACT, LABELS, max_drop=0.5)
    assert (entry["accuracy_pytorch"], entry["accuracy"], entry["bytes"]) == (1, 0.995, 5)
    assert entry["parity"] == {"max_abs_difference": 1, "images": 200, "differing_argmax": 1}


def test_one_that_loses_more_is_refused_with_both_accuracies(file):
    with pytest.raises(ExportError) as caught:
        check(file, Variant("onnx", "int8"), with_wrong(2), EXACT, LABELS, max_drop=0.5)
    assert str(caught.value) == (
        "model-int8.onnx has accuracy 0.9900 on the test split where PyTorch has 1.0000, 1.00 points less, so nothing "
        "was written: leave it out, or allow that with --max-drop"
    )


def test_one_that_gains_is_not_refused_and_no_numbers_are(file):
    gained = check(file, Variant("onnx", "fp16"), EXACT, with_wrong(9), LABELS, max_drop=0)
    assert gained["accuracy"] > gained["accuracy_pytorch"]
    with pytest.raises(ExportError, match="no numbers, so nothing was written"):
        check(file, Variant("onnx", "fp16"), np.full((200, 2), np.nan, np.float32), EXACT, LABELS, max_drop=100)


def test_an_exact_file_must_agree_however_much_may_be_lost(file):
    with pytest.raises(ExportError, match="and PyTorch disagree on the test split"):
        check(file, Variant("onnx"), with_wrong(1), EXACT, LABELS, max_drop=100)


def test_latency_is_of_one_thread_by_batch_size_and_leaves_torch_as_it_was(monkeypatch):
    monkeypatch.setattr(checking, "_SECONDS", 0.05)
    before = torch.get_num_threads()
    seen = []

    def run(images):
        seen.append((len(images), torch.get_num_threads()))
        time.sleep(0.002 * (1 + (len(images) == 64)))
        return images

    torch.set_num_threads(2)
    try:
        found = latency(run, np.zeros((3, 4, 4, 1), np.uint8))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {(1, 1), (64, 1)}
    assert list(found) == ["1", "64"]
    assert 2 <= found["1"]["median_ms"] < found["64"]["median_ms"] <= found["64"]["p99_ms"]


def test_a_split_is_run_in_batches_in_its_order():
    images = np.arange(300, dtype=np.uint8).reshape(300, 1, 1, 1)
    sizes = []

    def run(part):
        sizes.append(len(part))
        return part[:, 0, 0].astype(np.float32)

    np.testing.assert_array_equal(run_all(run, images)[:, 0], images.ravel())
    assert max(sizes) <= 128


def test_the_machine_has_a_name():
    assert machine()["cpu"]
