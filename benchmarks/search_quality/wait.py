"""What the next trial costs, made when a worker asks for it: from the question to the answer, written into the journal.

    python benchmarks/search_quality/wait.py

One search of `digits` in the simulator with 8 workers for each sampler, until its trials have reported as many scores
at rungs as the last of `OBSERVATIONS`. The times are the processor's, with one thread. `ready.py` has the wait of a
search that makes them ahead. Kept in `results/search_quality_wait.json`; the table of docs/search-quality.md is filled
in.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna

sys.path.insert(0, str(Path(__file__).parent.parent))
from curves import load_curves
from engines import TunerEngine, new_spec
from main_job import circumstances
from simulate import Attempt, simulate
from tasks import TASKS
from threadpoolctl import threadpool_limits

from tuner.asha import REDUCTION_FACTOR, default_grace_period
from tuner.spec import StudySpec

RESULTS = Path(__file__).parent.parent / "results" / "search_quality_wait.json"
PAGE = Path(__file__).parent.parent.parent / "docs" / "search-quality.md"
TASK, WORKERS = "digits", 8
OBSERVATIONS = (100, 300, 1000)
SUGGESTIONS = 20  # before each of these numbers of observations, that are looked at


def digits_spec(sampler: str) -> StudySpec:
    """Of a search of `TASK` with the defaults."""
    task = TASKS[TASK]
    return new_spec(
        task.space(),
        sampler=sampler,
        max_epochs=task.max_epochs,
        grace_period=default_grace_period(task.max_epochs),
        reduction_factor=REDUCTION_FACTOR,
        seed=0,
        asha="stop",
    )


class Timed(TunerEngine):
    """Notes for each suggestion how many scores at rungs there were, and the milliseconds that it took."""

    def __init__(self, sampler: str) -> None:
        spec = digits_spec(sampler)
        super().__init__(spec)
        self._levels = {*spec.rungs(), spec.max_epochs}
        self._observations = 0
        self.waits: list[tuple[int, float]] = []

    def suggest(self, attempt_id: str) -> Attempt:
        """As asked, or the end of the measurement."""
        if self._observations >= OBSERVATIONS[-1]:
            raise _Enough
        began_s = time.process_time()
        attempt = super().suggest(attempt_id)
        self.waits.append((self._observations, 1000 * (time.process_time() - began_s)))
        return attempt

    def report(self, attempt_id: str, epoch: int, score: float, seconds: float) -> Any:
        """Counts it if it is an observation."""
        self._observations += epoch in self._levels
        return super().report(attempt_id, epoch, score, seconds)


class _Enough(Exception):
    pass


def measure(sampler: str) -> list[list[float]]:
    """For each of `OBSERVATIONS`: the median and the longest of the suggestions just before, in milliseconds."""
    engine = Timed(sampler)
    try:
        world, epochs = load_curves(TASK), TASKS[TASK].max_epochs
        simulate(engine, world, workers=WORKERS, seed=0, budget_s=float("inf"), max_epochs=epochs)
    except _Enough:
        pass
    found = []
    for count in OBSERVATIONS:
        waits = [milliseconds for seen, milliseconds in engine.waits if seen < count][-SUGGESTIONS:]
        found.append([round(float(np.median(waits)), 1), round(max(waits), 1)])
    return found


def table(waits: dict[str, list[list[float]]]) -> str:
    """As Markdown."""
    lines = ["| sampler | " + " | ".join(f"{count} observations" for count in OBSERVATIONS) + " |", "|---|---|---|---|"]
    for sampler, row in waits.items():
        lines.append(f"| {sampler} | " + " | ".join(f"{median} ms ({longest})" for median, longest in row) + " |")
    return "\n".join(lines)


def fill(name: str, text: str) -> None:
    """Put a table into the page, between `<!-- its name -->` and `<!-- end -->`."""
    found = f"<!-- {name} -->\n{text}\n<!-- end -->"
    PAGE.write_text(re.sub(rf"<!-- {name} -->\n.*?<!-- end -->", lambda _: found, PAGE.read_text(), flags=re.DOTALL))


def main() -> None:
    """Measure, keep, and fill the page."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with threadpool_limits(1):
        waits = {sampler: measure(sampler) for sampler in ("random", "tpe", "mfgp")}
    RESULTS.write_text(json.dumps({"ms": waits, **circumstances()}, indent=1, sort_keys=True) + "\n")
    print(table(waits))
    fill("wait", table(waits))


if __name__ == "__main__":
    main()
