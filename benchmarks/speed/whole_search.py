"""How long a search takes to be as good as a tutorial's search is after five minutes, on real CIFAR-10 pictures.

    python benchmarks/speed/whole_search.py --data-dir FOLDER   # half an hour; writes results/speed_whole_search.json
    python benchmarks/speed/whole_search.py --quick             # two trials of the digits, writes nothing

A: `tuner search`, as it is typed. B: `tune_tutorial.py`, the script of Tune's tutorials. Both search the same space
with the same three first configurations, on the same training and validation pictures, which are decoded before; both
have the same wall-clock time from the start of their processes, Ray's start included. The ratio of a turn is the time
at which B had its best validation accuracy over the time at which A had as much; 0 where A never had. A turn is stored
as soon as it is measured: `--repeats 1` three times does the same as `--repeats 3`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench import HERE, ROOT, Goal, circumstances, options_of, refuse_no_data, spread, wait_for_quiet

from tuner.space import load_space
from tuner.store import client, embedded
from tuner.store.journal import RedisJournal
from tuner.training.data import load_training_data
from tuner.training.dataspec import DataSpec

SPACE = "cifar10-small"
# Beside the space's own [start]: one that a beginner would type, and one at the other end of the space.
FIRST = (
    {"depth": 4, "width": 32, "dropout": 0.0, "l2": 5e-3, "lr": 0.2, "augment": 0.1},
    {"depth": 3, "width": 32, "dropout": 0.1, "l2": 5e-3, "lr": 0.1, "augment": 0.2},
    {"depth": 3, "width": 16, "dropout": 0.0, "l2": 1e-3, "lr": 0.3, "augment": 0.0},
)
SLACK_S = 60.0

Curve = list[tuple[float, float]]


def run_ours(plan: dict[str, Any], folder: Path) -> Curve:
    """(seconds since the start, validation accuracy) of `tuner search`, each time the best became better."""
    environment = {**os.environ, "TUNER_HOME": str(folder), "TUNER_CACHE": plan["cache"]}
    configurations = folder / "first.toml"
    tables = ("[[trial]]\n" + "\n".join(f"{name} = {value}" for name, value in first.items()) for first in FIRST)
    configurations.write_text("\n".join(tables))
    command = [sys.executable, "-m", "tuner", "search", plan["dataset"], "--gpus", "0", "--space", SPACE]
    command += ["--name", "whole", "--trials", str(plan["trials"]), "--time-budget", f"{plan['budget_s']}s"]
    command += ["--max-epochs", str(plan["max_epochs"]), "--seed", str(plan["seed"]), "--workers", str(plan["workers"])]
    command += ["--data-dir", plan["data_dir"], "--enqueue", str(configurations)]
    store = client.connect(embedded.ensure_running(folder))
    journal, curve, read = RedisJournal(store, "whole"), Curve(), 0
    start_s = time.monotonic()
    with (folder / "log").open("w") as log:
        search = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        runs = True
        while runs and time.monotonic() - start_s < plan["budget_s"] + SLACK_S:
            time.sleep(0.25)
            runs = search.poll() is None  # asked before the journal is read, for its last words
            now_s = time.monotonic() - start_s
            entries = journal.read_logs(read)
            read += len(entries)
            scores = (entry["intermediate_value"] for entry in entries if "intermediate_value" in entry)
            curve += [(now_s, score) for score in scores if now_s <= plan["budget_s"]]
    finally:
        search.kill()
        search.wait()
        embedded.stop(folder)
    return checked(curve, folder / "log")


def run_tutorial(plan: dict[str, Any], folder: Path) -> Curve:
    """The same of the tutorial's script."""
    curve = folder / "curve"
    curve.touch()
    arguments = json.dumps({**plan, "space": SPACE, "first": FIRST, "folder": str(folder), "curve": str(curve)})
    environment = {**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parent}:{ROOT}"}
    start_s = time.monotonic()
    with (folder / "log").open("w") as log:
        command = [sys.executable, str(HERE / "tune_tutorial.py"), arguments]
        search = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    with suppress(subprocess.TimeoutExpired):
        search.wait(plan["budget_s"] + SLACK_S)
    search.kill()
    search.wait()
    rows = [json.loads(line) for line in curve.read_text().splitlines()]
    points = [(row["s"] - start_s, row["accuracy"]) for row in rows]
    return checked([point for point in points if point[0] <= plan["budget_s"]], folder / "log")


def checked(curve: Curve, log: Path) -> Curve:
    """Only the points where the best became better; ends the benchmark if there is none."""
    if not curve:
        raise SystemExit(f"a search reported nothing:\n{log.read_text()[-3000:]}")
    better: Curve = []
    for seconds, accuracy in curve:
        if not better or accuracy > better[-1][1]:
            better.append((round(seconds, 2), round(accuracy, 4)))
    return better


def judged(a: Curve, b: Curve) -> dict[str, Any]:
    """One turn: who had what when."""
    reached_s = next((seconds for seconds, accuracy in a if accuracy >= b[-1][1]), None)
    return {"a": a, "b": b, "b_best_s": b[-1][0], "a_reached_s": reached_s}


def summary(turns: list[dict[str, Any]], budget_s: float) -> list[dict[str, Any]]:
    """The lines of the page."""
    reached = [turn["a_reached_s"] for turn in turns]
    times = {
        "what": "seconds to B's best validation accuracy",
        "unit": "s",
        "a": spread(budget_s if seconds is None else seconds for seconds in reached),
        "b": spread(turn["b_best_s"] for turn in turns),
        "ratio": spread(
            0.0 if seconds is None else turn["b_best_s"] / seconds for turn, seconds in zip(turns, reached, strict=True)
        ),
        "goal": Goal("ratio", 5.0).as_dict(),
    }
    best = {
        "what": f"best validation accuracy after {budget_s:g} s",
        "unit": "",
        **{side: spread(turn[side][-1][1] for turn in turns) for side in "ab"},
    }
    return [times, best]


def measure(plan: dict[str, Any], options: Namespace) -> list[dict[str, Any]]:
    """So many turns, each stored with those before it."""
    path = options.results / "speed_whole_search.json"
    about = circumstances()
    hardware = f"{about['cores']} x {about['cpu']}"
    known = json.loads(path.read_text()) if path.exists() and not options.quick else {}
    turns = known.get(hardware, {}).get("turns", [])
    for _ in range(options.repeats or (1 if options.quick else 3)):
        found = []
        before = os.getloadavg()[0]
        for side in (run_ours, run_tutorial):
            wait_for_quiet(0.0 if options.quick else 60.0)
            with tempfile.TemporaryDirectory(prefix="speed-", ignore_cleanup_errors=True) as folder:
                found.append(side({**plan, "seed": len(turns)}, Path(folder)))
            print(f"turn {len(turns) + 1}, {side.__name__}: {found[-1]}", flush=True)
        turns.append({**judged(*found), "commit": about["commit"]})
        entry = {
            "rows": summary(turns, plan["budget_s"]),
            "notes": {"first configurations": list(FIRST)},
            "turns": turns,
            "about": {**about, "load_before": before, "load_after": os.getloadavg()[0]},
        }
        if not options.quick:
            path.write_text(json.dumps({**known, hardware: entry}, indent=1) + "\n")
    return turns


def main() -> None:
    """Decode, then take turns."""
    parser = options_of(__doc__, data=True)
    parser.add_argument("--budget-s", type=float, default=300.0, help="wall clock of each search (300)")
    options = parser.parse_args()
    refuse_no_data(parser, options)
    with tempfile.TemporaryDirectory(prefix="speed-") as cache:
        data_dir = str(options.data_dir.absolute()) if options.data_dir else cache
        dataset = "digits" if options.quick else "cifar10"
        load_training_data(DataSpec(dataset, data_dir), Path(cache), "cpu")
        plan = {
            "dataset": dataset,
            "data_dir": data_dir,
            "cache": cache,
            "budget_s": 600.0 if options.quick else options.budget_s,
            "trials": 2 if options.quick else 10_000,
            "max_epochs": 1 if options.quick else load_space(SPACE).search["max_epochs"],
            "workers": os.cpu_count() or 1,
        }
        print(json.dumps(summary(measure(plan, options), plan["budget_s"]), indent=1))


if __name__ == "__main__":
    main()
