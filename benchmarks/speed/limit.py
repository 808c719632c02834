"""How far is a trial's training from what the same hardware does at best? Needs torch alone.

    python benchmarks/speed/limit.py --data-dir FOLDER   # writes benchmarks/results/speed_limit.json
    python benchmarks/speed/limit.py --quick             # seconds, on the digits, writes nothing
    python benchmarks/speed/limit.py --profile FOLDER ... # and traces of one epoch and of the bare loop

A: whole epochs of a trial: data, augmentation, validation, checkpoint, report; once with augmentation as the space
begins (0.1), once with the strongest, once with none. B: `bare.py`, forward, backward and step on one resident batch of
the same network, number format and threads, with freed memory kept as in a worker; on a GPU as one captured CUDA graph.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from bare import BareLoop
from bench import Goal, compared, options_of, recording, refuse_no_data, take_turns, values
from ours import DEVICE, Trial, device_name, hyperparameters, load

from tuner.training.allocator import keep_freed_memory

AUGMENT = {"A, augment as the space begins": None, "A, augment = 1.0": 1.0, "A, augment = 0": 0.0}
GOALS = {"A, augment as the space begins": Goal("ratio", 0.90), "A, augment = 1.0": Goal("ratio", 0.85)}


def traced(work: Callable[[], object], path: Path) -> None:
    """Write a trace for the Chrome/Perfetto viewer, and print where the time went."""
    with torch.profiler.profile() as profile:
        work()
    profile.export_chrome_trace(str(path))
    key = "self_cuda_time_total" if DEVICE == "cuda" else "self_cpu_time_total"
    print(f"{path.name}\n{profile.key_averages().table(sort_by=key, row_limit=25, max_name_column_width=50)}")


def main() -> None:
    """Take turns in one process."""
    parser = options_of(__doc__, data=True)
    parser.add_argument("--profile", type=Path, metavar="FOLDER", help="write torch profiler traces there as well")
    options = parser.parse_args()
    refuse_no_data(parser, options)
    quick = options.quick
    keep_freed_memory()
    torch.set_num_threads(1 if quick else os.cpu_count() or 1)
    with (
        tempfile.TemporaryDirectory(prefix="speed-") as folder,
        recording("limit", options, device=device_name(DEVICE)) as result,
    ):
        data = load(
            str(options.data_dir.absolute()) if options.data_dir else "",
            f"{folder}/cache",
            DEVICE,
            0.1 if quick else 1.0,
        )
        trials = {
            name: Trial(
                hyperparameters(DEVICE, **({} if augment is None else {"augment": augment})),
                data,
                DEVICE,
                f"{folder}/{number}",
            )
            for number, (name, augment) in enumerate(AUGMENT.items())
        }
        bare = BareLoop(hyperparameters(DEVICE), data.info, DEVICE)
        epochs = {"cpu": 1, "cuda": 5}[DEVICE]
        steps = {"cpu": 200, "cuda": 2_000}[DEVICE]
        if DEVICE == "cuda":
            for trial in trials.values():
                trial.images_per_s(1)  # makes and measures kernels, captures graphs
        sides = {
            name: lambda trial=trial: {"images_per_s": trial.images_per_s(epochs)} for name, trial in trials.items()
        }
        found = take_turns(
            {**sides, "B": lambda: {"images_per_s": bare.images_per_s(5 if quick else steps)}},
            options.repeats or (1 if quick else 3),
            quick=quick,
        )
        b = values(found["B"], "images_per_s")
        result["rows"] = [
            compared(name.removeprefix("A, "), "1/s", values(found[name], "images_per_s"), b, goal=GOALS.get(name))
            for name in AUGMENT
        ]
        result["notes"] = {"threads": torch.get_num_threads()}
        if options.profile is not None:
            options.profile.mkdir(parents=True, exist_ok=True)
            traced(lambda: bare.images_per_s(20), options.profile / "bare.json")
            for name, trial in trials.items():
                traced(lambda trial=trial: trial.images_per_s(1), options.profile / f"{AUGMENT[name]}.json")


if __name__ == "__main__":
    main()
