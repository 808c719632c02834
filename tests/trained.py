"""A real, small, trained study, without a store: what an export starts from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.factories import new_space, new_spec
from tuner.study import Study, TrialRecord
from tuner.training.config import Hyperparameters
from tuner.training.data import load_training_data
from tuner.training.dataspec import DataSpec
from tuner.training.loop import TrialTrainer

PARAMS = {"lr": 0.1, "width": 8, "norm": "batch"}
CONSTANTS = {"depth": 2, "batch_size": 64, "dropout": 0.1, "l2": 0.0}


def train(data_spec: DataSpec, cache: Path, storage: Path, epochs: int = 2) -> Study:
    """A study of two trials: number 0 was pruned, number 1 trained for all epochs."""
    data = load_training_data(data_spec, cache, "cpu")
    hp = Hyperparameters.from_params({**CONSTANTS, **PARAMS})
    trainer = TrialTrainer(hp, data, max_epochs=epochs, seed=0, device="cpu")
    values = [(epoch, trainer.run_epoch().score) for epoch in range(1, epochs + 1)]
    best = trainer.save(storage).best
    spec = new_spec(
        data=data_spec,
        data_fingerprint=data.info.fingerprint,
        space=new_space(constants=CONSTANTS),
        name="numbers",
        trials=2,
        max_epochs=epochs,
    )
    reason = {"kind": "asha", "rung": 1, "rank": 2, "peers": 1, "cutoff": 0.5}
    pruned = TrialRecord(0, "pruned", reason, PARAMS, [(1, 0.1)], 1, "here:1", 1.0, None, None)
    complete = TrialRecord(1, "complete", None, PARAMS, values, 1, "here:2", 2.5, best.as_dict(), best.as_dict())
    return Study(spec, (pruned, complete), 2, None)


def write_colours(root: Path, *, each: int = 24) -> Path:
    """A folder data set of three classes that a small net learns at once: red, green and blue noise."""
    generator = np.random.default_rng(0)
    for label, name in enumerate(("red", "green", "blue")):
        (root / name).mkdir(parents=True)
        for number in range(each):
            pixels = generator.integers(0, 180, (20, 26, 3))
            pixels[..., label] += 75
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number:02d}.png")
    return root
