"""Our side of the training benchmarks: one trial, as a worker trains it. Needs no Ray, Optuna or Redis.

    python benchmarks/speed/ours.py '{"data_dir": ..., "cache": ..., "device": "cpu", "threads": 2, "epochs": 1}'

trains in a process of its own and prints one line of JSON. With `"keeps_memory": false` glibc gives large tensors back
to the kernel as it does by itself (see memory.py).
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
import tomllib
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from bench import ROOT
from sections import CHECKPOINT, PICTURES, VALIDATION, milliseconds, named

from tuner.exchange import Report
from tuner.training import loop
from tuner.training.allocator import keep_freed_memory
from tuner.training.config import Hyperparameters
from tuner.training.data import TrainingData, load_training_data
from tuner.training.dataspec import DataSpec
from tuner.training.loop import TrialTrainer

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SPACES = {"cpu": "cifar10-small", "cuda": "cifar10"}


def device_name(device: str) -> str:
    """Of the page's table; empty for processors, which are named anyway."""
    return torch.cuda.get_device_name() if device == "cuda" else ""


def hyperparameters(device: str, **changes: Any) -> Hyperparameters:
    """The configuration that a search on CIFAR-10 begins with on such hardware: the [start] of its space."""
    space = tomllib.loads((ROOT / "search_spaces" / f"{SPACES[device]}.toml").read_text())
    return Hyperparameters.from_params({**space["constants"], **space["start"], **changes})


def load(data_dir: str, cache: str, device: str, share: float = 1.0) -> TrainingData:
    """CIFAR-10, or the digits if no folder is named; `share` of it, of training and validation alike."""
    spec = DataSpec("cifar10", data_dir) if data_dir else DataSpec("digits", cache)
    data = load_training_data(spec, Path(cache), device)
    return replace(data, train_indices=_first(data.train_indices, share), val_indices=_first(data.val_indices, share))


def _first(indices: torch.Tensor, share: float) -> torch.Tensor:
    # Spread over all pictures, which may lie in the order of their classes.
    return indices[:: max(1, round(1 / share))].clone()


class Trial:
    """A trial that never ends, trained as a worker trains it: each epoch with its validation, checkpoint and report."""

    def __init__(self, hp: Hyperparameters, data: TrainingData, device: str, folder: str) -> None:
        self._trainer = TrialTrainer(hp, data, max_epochs=10_000, seed=0, device=device)
        self._folder = Path(folder)
        self._batches = len(data.train_indices) // min(hp.batch_size, len(data.train_indices))
        self.epochs = 0

    def images_per_s(self, epochs: int) -> float:
        """Training pictures a second over so many epochs, from before the first to after the last report.

        A worker saves after an epoch if that costs little; here it is after each.
        """
        start_s, images = time.perf_counter(), 0
        for _ in range(epochs):
            done = self._trainer.run_epoch()
            saved = self._trainer.save(self._folder)
            report = Report(
                done.epoch, done.score, done.train_loss, done.val_loss, done.seconds, "here", saved.last, saved.best
            )
            json.dumps(report.details())
            images += done.images
            self.epochs = done.epoch
        return images / (time.perf_counter() - start_s)

    def sections(self) -> dict[str, float]:
        """Milliseconds of an epoch for each of its batches, by section."""
        trainer = self._trainer
        with ExitStack() as patches:
            for owner, name, section in (
                (TrainingData, "batch", PICTURES),
                (loop, "augment", PICTURES),
                (trainer, "_validate", VALIDATION),
                (trainer, "save", CHECKPOINT),
            ):
                patches.enter_context(patch.object(owner, name, named(section, getattr(owner, name))))
            return milliseconds(lambda: self.images_per_s(1), self._batches)


def memory_peak_mib(device: str) -> float:
    """Most memory of the process so far; of the GPU where that is what trains."""
    if device == "cuda":
        return torch.cuda.max_memory_reserved() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Train what the plan says."""
    plan = json.loads(sys.argv[1])
    if plan.get("keeps_memory", True):
        keep_freed_memory()
    torch.set_num_threads(plan["threads"])
    data = load(plan["data_dir"], plan["cache"], plan["device"], plan.get("share", 1.0))
    with tempfile.TemporaryDirectory(prefix="speed-") as folder:
        trial = Trial(hyperparameters(plan["device"], **plan.get("changes", {})), data, plan["device"], folder)
        trial.images_per_s(1 if plan["device"] == "cpu" else 2)  # the first one also makes and measures kernels
        if plan.get("sections"):
            print(json.dumps(trial.sections()))
            return
        before = resource.getrusage(resource.RUSAGE_SELF)
        rate = trial.images_per_s(plan["epochs"])
        after = resource.getrusage(resource.RUSAGE_SELF)
    images = plan["epochs"] * len(data.train_indices)
    print(
        json.dumps(
            {
                "images_per_s": rate,
                "peak_mib": memory_peak_mib(plan["device"]),
                "kernel_us_per_image": (after.ru_stime - before.ru_stime) / images * 1e6,
                "faults_per_image": (after.ru_minflt - before.ru_minflt) / images,
            }
        )
    )


if __name__ == "__main__":
    main()
