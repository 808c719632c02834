"""The classic networks trained exactly as their spaces' [start] has them, by the commands that a user types.

    python benchmarks/classic.py                     # classic-mnist on the digits
    python benchmarks/classic.py --data-dir FOLDER   # and on CIFAR-10: FOLDER holds cifar10/{train,test}/<class>/

Each network is trained once for each seed, with one thread, in a new TUNER_HOME. Appends one entry per network to
`benchmarks/results/classic.json`: accuracies by epoch, test accuracy of the best epoch, seconds, hardware, commit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from main_job import ROOT, circumstances

RESULTS = Path(__file__).parent / "results" / "classic.json"


def run(dataset: str, space: str, data_dir: Path | None, seeds: int) -> dict[str, Any]:
    """Train the network of `space` with seeds 0, 1, ... and export each; what came of it."""
    with tempfile.TemporaryDirectory(prefix="tuner-bench-") as home:
        cores = os.cpu_count() or 1
        environment = {**os.environ, "TUNER_HOME": home}

        def tuner(*arguments: str) -> str:
            command = [sys.executable, "-m", "tuner", *arguments]
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
            return done.stdout

        # As many workers as cores gives each one thread; with one trial a study, one of them works.
        command = ["search", dataset, "--space", space, "--fixed", "--gpus", "0"]
        options = ["--workers", str(cores), *([] if data_dir is None else ["--data-dir", str(data_dir)])]
        runs = []
        try:
            for seed in range(seeds):
                name = f"seed-{seed}"
                tuner(*command, *options, "--seed", str(seed), "--name", name)
                tuner("export-best", name, "--out", f"{home}/{name}")
                (trial,) = json.loads(tuner("trials", name, "--json"))
                metrics = json.loads(Path(home, name, "metrics.json").read_text())
                runs.append(
                    {
                        "seed": seed,
                        "validation_accuracy": [round(score, 4) for _, score in trial["values"]],
                        "best_epoch": metrics["validation"]["epoch"],
                        "test_accuracy": metrics["accuracy"],
                        "train_s": round(trial["seconds"], 1),
                    }
                )
        finally:
            tuner("store", "stop")
    tests = [entry["test_accuracy"] for entry in runs]
    return {
        "command": " ".join(command),
        "test_accuracy_mean": round(statistics.mean(tests), 4),
        "test_accuracy_stdev": round(statistics.stdev(tests), 4) if len(tests) > 1 else None,
        "runs": runs,
    }


def main() -> None:
    """Run what was asked for and append the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="folder that holds cifar10/{train,test}/<class>/")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each network, with seeds 0, 1, ... (default 1)")
    options = parser.parse_args()
    networks: list[tuple[str, str, Path | None]] = [("digits", "classic-mnist", None)]
    if options.data_dir is not None:
        folder = options.data_dir.absolute()
        networks += [("cifar10", "classic-cifar10", folder), ("cifar10", "classic-dropout", folder)]
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for dataset, space, data_dir in networks:
        entry = {**run(dataset, space, data_dir, options.seeds), **circumstances()}
        results.append(entry)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        print(f"{space} on {dataset}: test accuracy {entry['test_accuracy_mean']:.4f} (n = {options.seeds})")


if __name__ == "__main__":
    main()
