"""What the scripts of this folder share: their options, turns of A and B, and the files of results.

Importing this needs torch neither nor Ray, Optuna or Redis.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE.parent), str(ROOT)]  # the other benchmarks, and the program where it is not installed

from main_job import circumstances  # noqa: E402
from quiet import wait_for_quiet  # noqa: E402
from scale_arithmetic import spread  # noqa: E402

RESULTS = HERE.parent / "results"
QUIET_PATIENCE_S = 20.0
QUICK = {"quick": True}

Measured = dict[str, float]


@dataclass(frozen=True)
class Goal:
    """What issue and page promise: `of` "ratio" (how many times A is as good as B) or "a" is at least or at most
    `limit`."""

    of: str
    limit: float
    at_least: bool = True

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"of": self.of, "limit": self.limit, "at_least": self.at_least}


def options_of(doc: str | None, *, data: bool = False) -> argparse.ArgumentParser:
    """The options that the scripts have in common. `data`: the script trains on real pictures."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a try of seconds with tiny sizes; writes nothing")
    parser.add_argument("--repeats", type=int, help="how often A and B take their turns")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    if data:
        parser.add_argument("--data-dir", type=Path, help="folder that holds cifar10/train/<class>/")
    return parser


def refuse_no_data(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with a line if the pictures that the measurement needs were not named."""
    if not options.quick and options.data_dir is None:
        parser.error("name the folder that holds cifar10/train/<class>/ with --data-dir, or try it with --quick")


def take_turns(sides: Mapping[str, Callable[[], Measured]], repeats: int, *, quick: bool) -> dict[str, list[Measured]]:
    """Side -> what it measured in each turn; A B A B ..., because machines are noisy and only ratios hold."""
    found: dict[str, list[Measured]] = {side: [] for side in sides}
    for turn in range(repeats):
        for side, measure in sides.items():
            wait_for_quiet(0.0 if quick else QUIET_PATIENCE_S)
            found[side].append(measure())
            shown = ", ".join(f"{name} {value:.4g}" for name, value in found[side][-1].items())
            print(f"turn {turn + 1} of {repeats}, {side}: {shown}", flush=True)
    return found


def compared(
    what: str,
    unit: str,
    a: Sequence[float],
    b: Sequence[float] | None = None,
    *,
    goal: Goal | None = None,
    less_is_better: bool = False,
) -> dict[str, Any]:
    """One line of the page. The ratio is of the two values of each turn, so that it is above 1 where A is better."""
    row: dict[str, Any] = {"what": what, "unit": unit, "a": spread(a)}
    if b is not None:
        row["b"] = spread(b)
    if b is not None and min(*a, *b) > 0:  # the kernel counts its time in ticks, and may find none
        row["ratio"] = spread(
            theirs / ours if less_is_better else ours / theirs for ours, theirs in zip(a, b, strict=True)
        )
    if goal is not None:
        row["goal"] = goal.as_dict()
    return row


def values(turns: Sequence[Measured], name: str) -> list[float]:
    """One measured value of each turn."""
    return [turn[name] for turn in turns]


@contextmanager
def recording(question: str, options: argparse.Namespace, *, device: str = "") -> Iterator[dict[str, Any]]:
    """Gives a dictionary to be filled with `rows` and `notes`; stores it in `speed_<question>.json`, in place of what
    was measured before on the same hardware, and prints it. `device`: of training; else the processors say it."""
    before = os.getloadavg()[0]
    result: dict[str, Any] = {"rows": [], "notes": {}}
    yield result
    about = circumstances()
    hardware = device or f"{about['cores']} x {about['cpu']}"
    entry = {**result, "about": {**about, "load_before": before, "load_after": os.getloadavg()[0]}}
    print(json.dumps({hardware: entry}, indent=1), flush=True)
    if not options.quick:
        path = options.results / f"speed_{question}.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**known, hardware: entry}, indent=1) + "\n")


def run_side(script: str, plan: Mapping[str, Any], *, timeout_s: float, **environment: str) -> dict[str, Any]:
    """Run a script of this folder in a process of its own with `plan` as JSON; what it printed as JSON, last.

    Ends the benchmark with what the script said if it fails.
    """
    done = subprocess.run(
        [sys.executable, str(HERE / script), json.dumps(plan)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    if done.returncode:
        raise SystemExit(f"{script} {dict(plan)} failed:\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
