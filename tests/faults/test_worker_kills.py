"""A worker killed at each step of saving: what the save before left is whole, and training goes on from it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tuner.training.checkpoint_ref import CheckpointRef
from tuner.training.config import Hyperparameters
from tuner.training.data import load_training_data
from tuner.training.dataspec import DataSpec
from tuner.training.loop import TrialTrainer

pytestmark = [pytest.mark.integration]
ROOT = Path(__file__).parent.parent.parent

HP = {"depth": 2, "width": 8, "batch_size": 256}
# Saves after each of two epochs, and prints what it saved: a save writes the best weights and then the last state.
WORKER = f"""
import json, sys
from pathlib import Path
import torch
from tuner.training.config import Hyperparameters
from tuner.training.data import load_training_data
from tuner.training.dataspec import DataSpec
from tuner.training.loop import TrialTrainer

torch.set_num_threads(1)
data = load_training_data(DataSpec("digits", "/nowhere"), Path(sys.argv[1]), "cpu")
trainer = TrialTrainer(Hyperparameters.from_params({HP}), data, max_epochs=3, seed=0, device="cpu")
for epoch in (1, 2):
    trainer.run_epoch()
    trainer._best_score = -1.0  # each epoch is the best so far
    print(json.dumps(trainer.save(Path(sys.argv[2])).last.as_dict()), flush=True)
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize(
    "point",
    [
        "between-best-and-last-checkpoint:2",
        "before-checkpoint-renamed:4",
        "after-checkpoint-renamed:4",
    ],
)
def test_training_goes_on_from_the_save_before(point, cache, tmp_path):
    folder = tmp_path / "trial"
    command = [sys.executable, "-c", WORKER, str(cache), str(folder)]
    environment = {**os.environ, "TUNER_FAILPOINT": point, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert result.returncode == -signal.SIGKILL, result.stderr
    (saved,) = map(json.loads, result.stdout.splitlines())  # the second save was never told to anybody
    assert saved["epoch"] == 1

    data = load_training_data(DataSpec("digits", "/nowhere"), cache, "cpu")
    trainer = TrialTrainer(Hyperparameters.from_params(HP), data, max_epochs=3, seed=0, device="cpu")
    trainer.restore(CheckpointRef.from_dict(saved))
    assert trainer.epoch == 1
    for _ in range(2):
        trainer.run_epoch()
        last = trainer.save(folder)
    again = TrialTrainer(Hyperparameters.from_params(HP), data, max_epochs=3, seed=0, device="cpu")
    again.restore(last.last)
    assert again.epoch == 3
    assert [path.name for path in folder.iterdir() if path.name.endswith(".partial")] == []
