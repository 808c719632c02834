"""The main job as a user runs it: search, then export, timed from outside, on the digits and on real CIFAR-10 pictures.

    python benchmarks/main_job.py                            # digits only
    python benchmarks/main_job.py --data-dir FOLDER          # and CIFAR-10: FOLDER holds cifar10/{train,test}/<class>/

Each run has a new TUNER_HOME, so that nothing is decoded or cached before. Appends one entry per run to
`benchmarks/results/main_job.json`: seconds, accuracies, trials by state, hardware, versions, commit.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "main_job.json"
DIGITS = ["search", "digits", "--gpus", "0", "--workers", "2", "--trials", "24"]
LIBRARIES = ("ray", "optuna", "torch", "torchvision", "redis")
CIFAR10 = ["search", "cifar10", "--gpus", "0", "--trials", "8", "--max-epochs", "9"]


def run(search: list[str], seed: int) -> dict[str, Any]:
    """Search and export in a home of their own; what came of it."""
    with tempfile.TemporaryDirectory(prefix="tuner-bench-") as home:
        environment = {**os.environ, "TUNER_HOME": home}

        def tuner(*arguments: str) -> tuple[str, float]:
            start_s = time.perf_counter()
            command = [sys.executable, "-m", "tuner", *arguments]
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
            return done.stdout, time.perf_counter() - start_s

        try:
            _, search_s = tuner(*search, "--name", "bench", "--seed", str(seed))
            _, export_s = tuner("export-best", "bench", "--out", f"{home}/best")
            status = json.loads(tuner("status", "bench", "--json")[0])
        finally:
            tuner("store", "stop")
        metrics = json.loads(Path(home, "best", "metrics.json").read_text())
    return {
        "command": " ".join(word for word in search if "/" not in word),
        "seed": seed,
        "search_s": round(search_s, 1),
        "export_s": round(export_s, 1),
        "trials": status["trials"],
        "epochs_trained": status["epochs_trained"],
        "worker_seconds": round(status["worker_seconds"], 1),
        "validation_accuracy": status["best"]["value"],
        "test_accuracy": metrics["accuracy"],
        "best_params": status["best"]["params"],
    }


def circumstances() -> dict[str, Any]:
    """Hardware, versions and commit, without which a number means nothing."""
    cpu_lines = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return {
        "cpu": cpu_lines[0].split(": ")[1] if cpu_lines else platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version for name in LIBRARIES if (version := _version(name))},
        "commit": commit.stdout.strip(),
        "when": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _version(name: str) -> str | None:
    """None if it is not installed: the benchmarks of training need no more than torch."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def main() -> None:
    """Run what was asked for and append the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="folder that holds cifar10/{train,test}/<class>/")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each search, with seeds 0, 1, ... (default 1)")
    options = parser.parse_args()
    searches = [DIGITS]
    if options.data_dir is not None:
        searches.append([*CIFAR10, "--data-dir", str(options.data_dir.absolute())])
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for search in searches:
        for seed in range(options.seeds):
            entry = {**run(search, seed), **circumstances()}
            results.append(entry)
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            print(f"{entry['command']}, seed {seed}: {entry['search_s']} s, test accuracy {entry['test_accuracy']:.4f}")


if __name__ == "__main__":
    main()
