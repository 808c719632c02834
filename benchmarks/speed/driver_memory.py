"""Who keeps the memory that a driver's process grows by with each trial: our parts, Tune's, Optuna's, others'?

    python benchmarks/speed/driver_memory.py           # writes benchmarks/results/speed_driver_memory.json
    python benchmarks/speed/driver_memory.py --quick   # seconds, a dozen trials, writes nothing

The searches of `control_plane.py`, sampled at random: trials that train nothing, A by our driver, B by bare Tune.
Python tells of each object who asked for its memory: the innermost of these packages in the stack that allocated it.
What is counted is what was allocated after the first 200 trials had ended and is still held when the last one ends.
Memory that C++ takes, such as Ray's, Python does not know; `control_plane.py` has the growth of the whole process.
"""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc
from collections import Counter
from typing import Any

from bench import Measured, options_of, recording, take_turns
from control_plane import side
from owners import owner, rows_by_owner

FRAMES = 12  # of a stack: copying takes some
ALL = "all that Python knows of"


def held() -> Counter[str]:
    """Bytes of Python's objects that are alive, by owner."""
    gc.collect()
    found: Counter[str] = Counter()
    for statistic in tracemalloc.take_snapshot().statistics("traceback"):
        found[owner(frame.filename for frame in reversed(statistic.traceback))] += statistic.size
    return found


def search(plan: dict[str, Any]) -> None:
    """One search; prints KiB a trial by owner as JSON."""
    import control_plane_side

    class Holder(control_plane_side.Meter):
        """Begins to trace when the first trials have ended, for it makes a search several times as slow."""

        held: Counter[str]

        def end(self) -> None:
            """A trial ended."""
            super().end()
            if self.ended == plan["first"]:
                tracemalloc.start(FRAMES)
            elif self.ended == plan["trials"]:
                self.held = held()
                tracemalloc.stop()

    meter = Holder(plan["first"], plan["trials"])
    control_plane_side.search(plan, meter)
    trials = plan["trials"] - plan["first"]
    grown = {name: size / trials / 1024 for name, size in meter.held.items()}
    print(json.dumps({**grown, ALL: sum(grown.values())}))


def main() -> None:
    """Take turns."""
    parser = options_of(__doc__)
    parser.add_argument("--trials", type=int, default=300, help="trials of a search (300)")
    options = parser.parse_args()
    trials, first = (12, 6) if options.quick else (options.trials, 200)

    def measured(name: str) -> Measured:
        return side(name, "random", trials, first, script="driver_memory.py", timeout_s=900)

    with recording("driver_memory", options) as result:
        repeats = options.repeats or 1
        found = take_turns({"A": lambda: measured("ours"), "B": lambda: measured("bare")}, repeats, quick=options.quick)
        result["rows"] = rows_by_owner(found, "growth a trial", "KiB")
        result["notes"] = {"trials": trials, "of which before the growth is counted": first}


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        search(json.loads(sys.argv[1]))
    else:
        main()
