"""How long a free worker waits for its next trial, by the clock: with suggestions made ahead, and made when it asks.

    python benchmarks/search_quality/ready.py

Searches of `digits` with 8 workers, a journal in Redis that is on its disk before anything follows from it, and a clock
that does not jump: the recorded curves are stretched so that an epoch takes half a second on average. Looked at are the
suggestions from `FROM` scores at rungs on until there are `UNTIL`. Kept in `results/search_quality_ready.json`; the
table of docs/search-quality.md is filled in.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from concurrent.futures import Executor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import optuna

sys.path.insert(0, str(Path(__file__).parent.parent))
from curves import load_curves
from engines import TunerEngine
from main_job import circumstances
from scale_redis import server
from simulate import Attempt, simulate
from tasks import TASKS
from threadpoolctl import threadpool_limits
from wait import TASK, WORKERS, digits_spec, fill

from tuner.search.onethread import OneThread
from tuner.spec import StudySpec
from tuner.store import catalog, client, lease
from tuner.store.journal import Journal, RedisJournal

RESULTS = Path(__file__).parent.parent / "results" / "search_quality_ready.json"
EPOCH_S = 0.5
FROM, UNTIL = 50, 400


class Live(TunerEngine):
    """Waits for each report until its time has come by the clock; notes what suggestions and reports took.

    stretch: seconds by the clock of one of the simulator's. until: scores at rungs, at which it ends with `Enough`.
    """

    def __init__(
        self, spec: StudySpec, journal: Journal | None, executor: Executor | None, *, stretch: float, until: int
    ) -> None:
        super().__init__(spec, executor, journal)
        self._levels = {*spec.rungs(), spec.max_epochs}
        self._stretch = stretch
        self._until = until
        self._due_s: dict[str, float] = {}
        self.observations = 0
        self.waits: list[tuple[int, float]] = []
        self.reports: list[float] = []

    def suggest(self, attempt_id: str) -> Attempt:
        """As asked; its wait counts for the observations that there are."""
        began_s = time.perf_counter()
        attempt = super().suggest(attempt_id)
        self._due_s[attempt_id] = time.perf_counter()
        self.waits.append((self.observations, 1000 * (self._due_s[attempt_id] - began_s)))
        return attempt

    def report(self, attempt_id: str, epoch: int, score: float, seconds: float) -> Any:
        """At its time."""
        if self.observations >= self._until:
            raise Enough
        self._due_s[attempt_id] += self._stretch * seconds
        time.sleep(max(0.0, self._due_s[attempt_id] - time.perf_counter()))
        self.observations += epoch in self._levels
        began_s = time.perf_counter()
        goes_on = super().report(attempt_id, epoch, score, seconds)
        self.reports.append(1000 * (time.perf_counter() - began_s))
        return goes_on


class Enough(Exception):
    """The end of a measurement."""


def measure(sampler: str, *, ahead: bool) -> dict[str, float]:
    """Of one search: milliseconds of waits and of reports, and the seconds of CPU time of the driver for each trial."""
    spec, world = digits_spec(sampler), load_curves(TASK)
    stretch = EPOCH_S * TASKS[TASK].max_epochs / world.full_seconds
    with tempfile.TemporaryDirectory() as folder, server(Path(folder) / "redis", "always") as url:
        store = client.connect(url)
        catalog.create_study(store, spec.name, spec.to_json())
        held = lease.acquire(store, spec.name)
        journal = RedisJournal(store, spec.name, held.fence)
        with OneThread("suggestion") if ahead else nullcontext() as executor:
            engine = Live(spec, journal, executor, stretch=stretch, until=UNTIL)
            cpu_s = time.process_time()
            try:
                simulate(engine, world, workers=WORKERS, seed=0, budget_s=float("inf"), max_epochs=spec.max_epochs)
            except Enough:
                cpu_s = time.process_time() - cpu_s
        held.release()
    waits = [wait for observations, wait in engine.waits if observations >= FROM]
    return {
        "wait_median_ms": round(float(np.median(waits)), 1),
        "wait_9_of_10_ms": round(float(np.quantile(waits, 0.9)), 1),
        "wait_longest_ms": round(max(waits), 1),
        "report_median_ms": round(float(np.median(engine.reports)), 1),
        "report_9_of_10_ms": round(float(np.quantile(engine.reports, 0.9)), 1),
        "cpu_ms_a_trial": round(1000 * cpu_s / len(engine.waits), 1),
        "trials": len(engine.waits),
    }


def table(found: dict[str, dict[str, float]]) -> str:
    """As Markdown."""
    lines = [
        "| sampler | suggestion made | wait | 9 of 10 | longest | report | 9 of 10 | driver's CPU time a trial |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in found.items():
        sampler, made = name.split("/")
        names = ("wait_median", "wait_9_of_10", "wait_longest", "report_median", "report_9_of_10")
        cells = [f"{row[f'{cell}_ms']:.1f} ms" for cell in names]
        lines.append(f"| {sampler} | {made} | {' | '.join(cells)} | {row['cpu_ms_a_trial']:.0f} ms |")
    return "\n".join(lines)


def main() -> None:
    """Measure, keep, and fill the page."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = {}
    with threadpool_limits(1):
        for sampler in ("mfgp", "tpe"):
            for made in ("when asked", "ahead"):
                found[f"{sampler}/{made}"] = measure(sampler, ahead=made == "ahead")
    RESULTS.write_text(json.dumps({"found": found, **circumstances()}, indent=1) + "\n")
    print(table(found))
    fill("ready", table(found))


if __name__ == "__main__":
    main()
