"""Record learning curves of spread-out configurations, once; the simulator then searches them in seconds.

    python benchmarks/search_quality/record.py digits
    python benchmarks/search_quality/record.py cifar10-small --data-dir FOLDER

Trains in this process with one thread. Each curve is appended to `curves/<task>.jsonl` as it is done, so that the
recording goes on where it was interrupted; `--pack` compresses what there is to `curves/<task>.jsonl.xz`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import lzma
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from scipy.stats import qmc
from tasks import TASKS, Task

from tuner.search.mfgp.encoding import Encoding
from tuner.settings import load_settings
from tuner.training.config import Hyperparameters
from tuner.training.data import TrainingData, load_training_data
from tuner.training.dataspec import DataSpec
from tuner.training.epoch import Diverged
from tuner.training.loop import TrialTrainer

REPEATS = 3


def configurations(task: Task) -> list[dict[str, Any]]:
    """The first points of a scrambled Sobol sequence over the space: random, and more even than draws would be."""
    encoding = Encoding(task.space().distributions())
    power = max(1, task.configurations - 1).bit_length()
    units = qmc.Sobol(len(encoding.names), rng=0).random_base2(power)
    return [encoding.params(unit) for unit in units[: task.configurations]]


def plan(task: Task) -> Iterator[tuple[int, int]]:
    """(number of the configuration, seed) of each training, in the order in which they are recorded."""
    for number in range(task.configurations):
        for seed in range(REPEATS if number < task.repeated else 1):
            yield number, seed


def train(task: Task, params: dict[str, Any], data: TrainingData, seed: int) -> dict[str, Any]:
    """One curve: hits on the validation pictures and CPU seconds by epoch. It is shorter if training diverged."""
    hyperparameters = Hyperparameters.from_params({**task.space().constants, **params})
    trainer = TrialTrainer(hyperparameters, data, max_epochs=task.max_epochs, seed=seed, device="cpu")
    hits: list[int] = []
    seconds: list[float] = []
    for _ in range(task.max_epochs):
        # The processor's time: the wall clock of a shared machine says what else ran on it.
        began_s = time.process_time()
        try:
            report = trainer.run_epoch()
        except Diverged:
            break
        seconds.append(round(time.process_time() - began_s, 3))
        hits.append(round(report.score * len(data.val_indices)))
    return {"hits": hits, "seconds": seconds}


def record(task: Task, data_dir: Path, stop_s: float) -> None:
    """Append the curves that are missing, for at most `stop_s` seconds."""
    torch.set_num_threads(1)
    began_s = time.monotonic()
    spec = DataSpec(task.dataset, str(data_dir), image_size=task.image_size, val_fraction=task.val_fraction)
    data = load_training_data(spec, load_settings().cache, "cpu")
    data = dataclasses.replace(
        data,
        train_indices=data.train_indices[:: task.train_every].clone(),
        val_indices=data.val_indices[:: task.val_every].clone(),
    )
    params = configurations(task)
    path = working_file(task)
    done = {(entry["number"], entry["seed"]) for entry in map(json.loads, read_lines(path))}
    with path.open("a", encoding="utf-8") as file:
        for number, seed in plan(task):
            if (number, seed) in done:
                continue
            if time.monotonic() - began_s > stop_s:
                print(f"{task.name}: stopped after {stop_s:.0f} s at configuration {number}; run this again to go on")
                return
            curve = train(task, params[number], data, 1000 * seed + number)
            entry = {"number": number, "seed": seed, "of": len(data.val_indices), "params": params[number], **curve}
            file.write(json.dumps(entry, separators=(",", ":")) + "\n")
            file.flush()
    print(f"{task.name}: all {task.configurations} configurations are recorded")


def working_file(task: Task) -> Path:
    """The uncompressed recording; made from the packed one if only that is there."""
    path = task.table.with_suffix("")
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(lzma.decompress(task.table.read_bytes()) if task.table.exists() else b"")
    return path


def read_lines(path: Path) -> list[str]:
    """The whole lines of a recording: a last one without its end was interrupted, and is removed."""
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return whole.splitlines()


def main() -> None:
    """Record or pack the task that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="folder that holds cifar10/train/<class>/")
    parser.add_argument("--minutes", type=float, default=600.0, help="stop after so many (default 600)")
    parser.add_argument("--pack", action="store_true", help="only compress what is recorded")
    options = parser.parse_args()
    task = TASKS[options.task]
    if not options.pack:
        record(task, options.data_dir.absolute(), options.minutes * 60)
    task.table.write_bytes(lzma.compress("".join(f"{line}\n" for line in read_lines(working_file(task))).encode()))
    print(f"{task.table.name}: {task.table.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
