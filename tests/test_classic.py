"""The classic spaces on folders of made-up pictures, from files to ONNX: what is no digit and no CIFAR-10."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from tuner.exported_model import build_classifier, write_onnx
from tuner.space import load_space
from tuner.training import checkpoint
from tuner.training.config import Hyperparameters
from tuner.training.data import load_training_data
from tuner.training.dataspec import DataSpec
from tuner.training.loop import TrialTrainer


def _folder(root, classes, each, side, mode):
    """Class folders of pictures that one look tells apart: brighter with each class, under noise."""
    rng = np.random.default_rng(0)
    for label in range(classes):
        folder = root / f"class-{label}"
        folder.mkdir(parents=True)
        for number in range(each):
            pixels = rng.normal(40 + 170 * label / (classes - 1), 20, (side, side, 3)).clip(0, 255)
            Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(folder / f"{number}.png")
    return root


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("name", "classes", "each", "mode", "epochs", "changes"),
    [
        ("classic-augmented", 10, 20, "L", 3, {}),
        # A tenth of its dense layer: 19 million parameters would cost ten times the seconds and show nothing more.
        ("classic-binary", 2, 24, "RGB", 2, {"dense": 48}),
    ],
)
def test_a_classic_network_learns_class_folders_and_is_exported(
    name, classes, each, mode, epochs, changes, one_thread, tmp_path
) -> None:
    space = load_space(name)
    side = space.input["size"]
    data = DataSpec(str(_folder(tmp_path / "pictures", classes, each, side, mode)), "", image_size=side)
    loaded = load_training_data(data, tmp_path / "cache", "cpu")
    info = loaded.info
    assert (info.height, info.width, info.channels, len(info.classes)) == (side, side, space.input["channels"], classes)
    hp = Hyperparameters.from_params({**space.constants, **space.start, "batch_size": 8, **changes})
    trainer = TrialTrainer(hp, loaded, max_epochs=epochs, seed=0, device="cpu")
    scores = [trainer.run_epoch().score for _ in range(epochs)]
    best = checkpoint.read(trainer.save(tmp_path / "checkpoints").best)
    classifier = build_classifier(best.state, best.group("model"))
    write_onnx(tmp_path / "model.onnx", classifier, best.state["input"], {})
    images = loaded.images[loaded.val_indices].numpy()
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (probabilities,) = session.run(None, {"images": images})
    with torch.inference_mode():
        np.testing.assert_allclose(probabilities, classifier(torch.from_numpy(images)).numpy(), rtol=0, atol=1e-5)
    assert probabilities.shape == (len(images), classes)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    right = (probabilities.argmax(axis=1) == loaded.labels[loaded.val_indices].numpy()).mean()
    assert right == pytest.approx(max(scores), abs=0.051)
    assert right >= 3 / classes if classes > 2 else right == 1
