"""From a trial's last report to the next trial's first training batch: what a worker's process gains by staying.

    python benchmarks/speed/turnover.py           # writes benchmarks/results/speed_turnover.json
    python benchmarks/speed/turnover.py --quick   # seconds, two trials, writes nothing

A: a search as it is, one worker at a time, trials of one epoch of the digits. B: the same search, the same worker, but
a new process for each trial, as Tune does it by default (`reuse_actors=False`). Both are timed in the worker's
processes, by the machine's monotonic clock, and each turn is a driver with a Ray and a Redis of its own.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from bench import HERE, ROOT, Goal, compared, options_of, recording, run_side, take_turns, values


def gaps(events: list[dict[str, Any]]) -> list[float]:
    """Seconds between the last report of each trial and the first batch of the one that comes after it."""
    batches = [event["s"] for event in events if event["what"] == "batch"]
    reports = [event["s"] for event in events if event["what"] == "report"]
    return [min(later for later in batches if later > report) - report for report in reports[:-1]]


class Nobody:
    """The display of a search that nobody looks at."""

    def stopping(self, why: str) -> None:
        """Nothing."""

    def trial_changed(self, trial: Any) -> None:
        """Nothing."""


def search(plan: dict[str, Any]) -> None:
    """One driver; prints the gaps as JSON."""
    import ray
    from scale_redis import server
    from watched import EVENTS, Watched

    from tuner.search import driver, execution
    from tuner.slots import Slots
    from tuner.space import load_space
    from tuner.spec import StudySpec
    from tuner.store import catalog, client
    from tuner.training.cache import describe
    from tuner.training.dataspec import DataSpec

    folder = Path(plan["folder"])
    os.environ[EVENTS] = str(folder / "events")
    if not plan["warm"]:
        as_it_is = execution.tune.TuneConfig
        execution.tune.TuneConfig = lambda **given: as_it_is(**{**given, "reuse_actors": False})
    data = DataSpec("digits", str(folder))
    spec = StudySpec(
        name="turnover",
        data=data,
        data_fingerprint=describe(data, folder / "cache").fingerprint,
        space=load_space("digits"),
        trials=plan["trials"],
        max_epochs=1,
        grace_period=1,
        storage=str(folder / "storage"),
    )
    with server(folder / "redis", "always") as url:
        store = client.connect(url)
        catalog.create_study(store, spec.name, spec.to_json())
        ray.init(address="local", num_cpus=1, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
        try:
            slots = Slots(1, 1, 0.0, 1, most=1)
            show = lambda _trials, _wanted: nullcontext(Nobody())  # noqa: E731
            driver.run(spec, store, slots, cache=folder / "cache", show=show, trainable=Watched)
        finally:
            ray.shutdown()
    found = gaps([json.loads(line) for line in (folder / "events").read_text().splitlines()])
    # The first gap of a worker that stays also holds what its second trial does for the first time.
    print(json.dumps({"seconds": statistics.median(found), "longest_s": max(found), "gaps": len(found)}))


def main() -> None:
    """Take turns."""
    options = options_of(__doc__).parse_args()

    def side(warm: bool) -> dict[str, float]:
        trials = {True: 3 if options.quick else 12, False: 2 if options.quick else 6}[warm]
        with tempfile.TemporaryDirectory(prefix="speed-", ignore_cleanup_errors=True) as folder:
            plan = {"folder": folder, "warm": warm, "trials": trials}
            path = f"{HERE}:{HERE.parent}:{ROOT}"
            return run_side("turnover.py", plan, timeout_s=300, PYTHONPATH=path, RAY_DEDUP_LOGS="0")

    with recording("turnover", options) as result:
        repeats = options.repeats or (1 if options.quick else 3)
        found = take_turns({"A": lambda: side(True), "B": lambda: side(False)}, repeats, quick=options.quick)
        a, b = (values(found[name], "seconds") for name in "AB")
        what = "last report to next first batch, median of a search's trials"
        result["rows"] = [
            compared(what, "s", a, b, goal=Goal("ratio", 15.0), less_is_better=True),
            compared(f"{what}, seconds", "s", a, goal=Goal("a", 0.15, at_least=False)),
        ]


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        search(json.loads(sys.argv[1]))
    else:
        main()
