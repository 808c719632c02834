"""How many results a second one driver takes, with trials that train nothing: ours against bare Tune.

    python benchmarks/speed/control_plane.py           # writes benchmarks/results/speed_control_plane.json
    python benchmarks/speed/control_plane.py --quick   # seconds, a dozen trials, writes nothing

A: the driver as it is: each result is in Redis, synced to disk, before anything follows from it; ASHA; checkpoints
named in each result; metrics. B: bare Tune with processes that stay, `OptunaSearch` in memory, `ASHAScheduler` and no
loggers. Both have the same two workers, space, sampler, rungs and kind of scores, up to 27 epochs, and run on this
machine beside their workers and Ray; each turn is a driver, a Ray and a Redis of its own (`control_plane_side.py`). The
rate at 200 trials is of the first 200 of the same search.
"""

from __future__ import annotations

import tempfile
from typing import Any

from bench import HERE, ROOT, Goal, Measured, compared, options_of, recording, run_side, take_turns, values

FIRST = 200
SIDES = {"A": "ours", "B": "bare"}


def side(
    name: str,
    sampler: str,
    trials: int,
    first: int,
    *,
    script: str = "control_plane_side.py",
    timeout_s: float = 3_000,
) -> Measured:
    """One search from its first trial to its last. script: what runs and measures it, in this folder."""
    with tempfile.TemporaryDirectory(prefix="speed-", ignore_cleanup_errors=True) as folder:
        plan: dict[str, Any] = {"side": name, "sampler": sampler, "trials": trials, "first": first, "folder": folder}
        path = f"{HERE}:{HERE.parent}:{ROOT}"
        return run_side(script, plan, timeout_s=timeout_s, PYTHONPATH=path, RAY_DEDUP_LOGS="0")


def main() -> None:
    """Take turns, for each sampler."""
    parser = options_of(__doc__)
    parser.add_argument("--trials", type=int, default=2_000, help="trials of a search (2000)")
    parser.add_argument("--samplers", nargs="+", default=["tpe", "random"], choices=["tpe", "random"])
    options = parser.parse_args()
    trials, first = (12, 6) if options.quick else (options.trials, FIRST)
    with recording("control_plane", options) as result:
        for sampler in options.samplers[: 1 if options.quick else 2]:
            sides = {
                name: lambda of=of, sampler=sampler: side(of, sampler, trials, first) for name, of in SIDES.items()
            }
            found = take_turns(
                sides, options.repeats or (2 if sampler == "tpe" and not options.quick else 1), quick=options.quick
            )
            for at, key in ((first, "first_per_s"), (trials, "results_per_s")):
                goal = Goal("ratio", 0.9 if sampler == "tpe" else 1.0) if at == trials or sampler == "tpe" else None
                a, b = (values(found[name], key) for name in "AB")
                result["rows"].append(compared(f"results a second, {sampler}, {at:,} trials", "1/s", a, b, goal=goal))
            a, b = (values(found[name], "kib_a_trial") for name in "AB")
            what = f"driver's memory, {sampler}, growth a trial after the first {first}"
            goal = Goal("a", 10.0, at_least=False)
            result["rows"].append(compared(what, "KiB", a, goal=goal))
            result["notes"][f"{what}, of bare Tune"] = b


if __name__ == "__main__":
    main()
