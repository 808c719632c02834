"""Compare search methods on recorded learning curves: `make bench-search`.

    python benchmarks/search_quality/bench.py --seeds 20
    python benchmarks/search_quality/bench.py --tasks wide --workers 8 --methods tpe mfgp

Each method searches each task with the same seeds: the noise of trial n of seed s is the same for all of them. What is
printed is the mean regret (0: best known, 100: a random configuration) and its paired difference from the first method,
with standard errors. Runs are kept in `results/search_quality.json` by task, workers, method and seed: those that are
there are not done again, unless `--anew`. The table of docs/search-quality.md is filled in.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import optuna

sys.path.insert(0, str(Path(__file__).parent.parent))
from main_job import circumstances
from methods import BUDGETS, METHODS, SHARES, run
from tasks import TASKS
from threadpoolctl import threadpool_limits

RESULTS = Path(__file__).parent.parent / "results" / "search_quality.json"
PAGE = Path(__file__).parent.parent.parent / "docs" / "search-quality.md"
SHOWN = ["tpe", "mfgp", "random", "random-full", "stock", "tpe-promote", "mfgp-promote"]
_RUNGS = ("grace1-eta4", "eta4", "eta2", "grace1", "grace1-eta2")
# What defaults were chosen by, and what was decided against; methods that are not in `METHODS` were measured by code
# that was not kept, when of `cifar10-small` the first 60 configurations were recorded: that is `cifar10-60`.
# `mfgp-before`: with the priors that the process had before.
CHOSEN_BY = [
    [(task, workers) for task in ("digits", cifar) for workers in (1, 8)] for cifar in ("cifar10-small", "cifar10-60")
]
CHOICES = [
    *((f"{sampler}-{other}", sampler) for sampler in ("tpe", "mfgp", "mfgp-before") for other in _RUNGS),
    *((f"{method}-ahead", method) for method in ("tpe", "mfgp", "tpe-promote", "mfgp-promote")),
    ("mfgp", "mfgp-before"),
    *(("mfgp", other) for other in ("tpe", "random")),
    ("random", "tpe"),
    *((f"{sampler}-promote", sampler) for sampler in ("tpe", "mfgp", "mfgp-before", "random")),
    *((f"mfgp-before-{variant}", "mfgp-before") for variant in ("cost", "cost-root")),
    *((f"{base}-{variant}", base) for base in ("random", "random-eta4") for variant in ("recheck", "hopeless")),
    ("random-eta4-between", "random-eta4"),
]
Runs = dict[str, dict[str, Any]]


def key(task: str, workers: int, method: str, seed: int) -> str:
    """Of one run."""
    return f"{task}/{workers}/{method}/{seed}"


def compare(runs: Runs, tasks: Sequence[str], workers: Sequence[int], methods: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each task, number of workers and method that has two seeds with the first method or more.

    regret, difference, error: at each of `SHARES` of the budget; the difference is from the first method, seed by seed,
    and the error its standard error.
    """
    rows = []
    for task, count, method in itertools.product(tasks, workers, methods):
        first, own = _by_seed(runs, task, count, methods[0]), _by_seed(runs, task, count, method)
        seeds = sorted(first.keys() & own.keys())
        if len(seeds) < 2:
            continue
        regrets = np.array([own[seed] for seed in seeds])
        differences = regrets - np.array([first[seed] for seed in seeds])
        rows.append(
            {
                "task": task,
                "workers": count,
                "method": method,
                "seeds": len(seeds),
                "regret": regrets.mean(0).round(2).tolist(),
                "difference": differences.mean(0).round(2).tolist(),
                "error": (differences.std(0, ddof=1) / np.sqrt(len(seeds))).round(2).tolist(),
            }
        )
    return rows


def _by_seed(runs: Runs, task: str, workers: int, method: str) -> dict[int, list[float]]:
    prefix = key(task, workers, method, 0)[:-1]
    return {int(name.removeprefix(prefix)): run["regret"] for name, run in runs.items() if name.startswith(prefix)}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    heads = [f"{100 * share:.0f} %" for share in SHARES]
    lines = [
        "| task | workers | method | seeds | " + " | ".join(heads) + " |",
        "|---|---|---|---|" + "---|" * len(heads),
    ]
    for row in rows:
        cells = []
        for regret, difference, error in zip(row["regret"], row["difference"], row["error"], strict=True):
            against = f" ({difference:+.1f} ± {error:.1f})" if error else ""
            cells.append(f"{regret:.1f}{against}")
        lines.append(
            f"| {row['task']} | {row['workers']} | {row['method']} | {row['seeds']} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines)


def choices(runs: Runs) -> str:
    """The pairs of `CHOICES` as Markdown: the paired difference, averaged over `CHOSEN_BY` with equal weights."""
    heads = [f"{100 * share:.0f} %" for share in SHARES]
    lines = [
        "| method | against | tasks | seeds | " + " | ".join(heads) + " |",
        "|---|---|---|---|" + "---|" * len(heads),
    ]
    for method, other in CHOICES:
        rows = (_choice(runs, method, other, worlds) for worlds in CHOSEN_BY)
        lines.extend(itertools.islice(filter(None, rows), 1))
    return "\n".join(lines)


def _choice(runs: Runs, method: str, other: str, worlds: Sequence[tuple[str, int]]) -> str:
    """One row of `choices`; empty if the two were not both run in each of these tasks, with so many workers."""
    means, variances, seeds = [], [], []
    for task, count in worlds:
        own, against = _by_seed(runs, task, count, method), _by_seed(runs, task, count, other)
        both = sorted(own.keys() & against.keys())
        if len(both) < 2:
            return ""
        differences = np.array([own[seed] for seed in both]) - np.array([against[seed] for seed in both])
        means.append(differences.mean(0))
        variances.append(differences.var(0, ddof=1) / len(both))
        seeds.append(len(both))
    errors = np.sqrt(np.sum(variances, 0)) / len(worlds)
    cells = [f"{mean:+.1f} ± {error:.1f}" for mean, error in zip(np.mean(means, 0), errors, strict=True)]
    tasks = " and ".join(dict.fromkeys(task for task, _ in worlds))
    return f"| {method} | {other} | {tasks} | {min(seeds)} | " + " | ".join(cells) + " |"


def fill(page: str, runs: Runs) -> str:
    """The page with both tables, each between `<!-- its name -->` and `<!-- end -->`."""
    parts = {"regret": table(compare(runs, list(TASKS), list(BUDGETS), SHOWN)), "choices": choices(runs)}
    for name, text in parts.items():
        page = re.sub(
            rf"<!-- {name} -->\n.*?<!-- end -->", f"<!-- {name} -->\n{text}\n<!-- end -->", page, flags=re.DOTALL
        )
    return page


def _one(arguments: tuple[str, int, str, int]) -> tuple[str, dict[str, Any]]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    task, workers, method, seed = arguments
    # Processes side by side use the cores better than the threads of one, and round the same on any number of cores.
    with threadpool_limits(1):
        return key(*arguments), run(task, method, workers, seed)


def main() -> None:
    """Do the runs that are missing, keep them, and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--workers", nargs="+", type=int, choices=BUDGETS, default=list(BUDGETS))
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=["tpe", "mfgp", "random", "random-full", "stock"]
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--anew", action="store_true", help="forget the runs that were kept")
    options = parser.parse_args()
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() and not options.anew else {"runs": {}}
    runs: Runs = kept["runs"]
    wanted = [
        (task, workers, method, seed)
        for seed in range(options.seeds)
        for task in options.tasks
        for workers in options.workers
        for method in options.methods
        if key(task, workers, method, seed) not in runs
    ]
    with ProcessPoolExecutor(options.processes) as pool:
        for count, (name, found) in enumerate(pool.map(_one, wanted), start=1):
            runs[name] = found
            if count % 10 == 0 or count == len(wanted):
                print(f"\r{count}/{len(wanted)} runs", end="", file=sys.stderr, flush=True)
                _write({"runs": runs, **circumstances()})
    print(file=sys.stderr)
    print(table(compare(runs, options.tasks, options.workers, options.methods)))
    PAGE.write_text(fill(PAGE.read_text(), runs))


def _write(results: dict[str, Any]) -> None:
    lines = [f"  {json.dumps(name)}: {json.dumps(found)}" for name, found in sorted(results["runs"].items())]
    about = {name: value for name, value in results.items() if name != "runs"}
    head = json.dumps(about, indent=1)[:-2]
    RESULTS.write_text(f'{head},\n "runs": {{\n' + ",\n".join(lines) + "\n }\n}\n")


if __name__ == "__main__":
    main()
