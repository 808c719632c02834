"""Where the driver's time goes in a short search whose trials train nothing: our parts, Tune's, Optuna's, others'?

    python benchmarks/speed/control_plane_where.py           # writes benchmarks/results/speed_control_plane_where.json
    python benchmarks/speed/control_plane_where.py --quick   # seconds, a dozen trials, writes nothing

The first 200 trials of the searches of `control_plane.py`, A by our driver, B by bare Tune. A thread looks at the stack
of the main thread every other millisecond: its innermost package has that moment.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from types import FrameType
from typing import Any

from bench import Measured, options_of, recording, take_turns
from control_plane import side
from owners import OURS, owner, rows_by_owner

LOOK_EVERY_S = 0.002
ALL, WAITING = "all", "waiting for workers"


def files(frame: FrameType | None) -> Iterator[str]:
    """Of a stack, the innermost first."""
    while frame is not None:
        yield frame.f_code.co_filename
        frame = frame.f_back


def whose(frame: FrameType) -> str:
    """Who has the moment. Of ours, what Optuna and Redis do for us is theirs: they are further inside."""
    if frame.f_code.co_name == "wait" and frame.f_code.co_filename.endswith("/ray/_private/worker.py"):
        return WAITING
    found = owner(files(frame))
    # By package: a line of ours for each file would be long.
    return OURS + (found.removeprefix(OURS).rpartition("/")[0] or "others") if found.startswith(OURS) else found


def search(plan: dict[str, Any]) -> None:
    """One search; prints milliseconds for each result by owner as JSON."""
    import control_plane_side

    class Watched(control_plane_side.Meter):
        """Looks from the first result to the end of the last trial that counts."""

        def __init__(self, first: int, last: int) -> None:
            super().__init__(first, last)
            self.found: Counter[str] = Counter()
            self._over = threading.Event()
            self._main = threading.get_ident()

        def result(self) -> None:
            """A result was taken."""
            super().result()
            if self.results == 1:
                threading.Thread(target=self._look, daemon=True).start()

        def end(self) -> None:
            """A trial ended."""
            super().end()
            if self.ended == plan["trials"]:
                self._over.set()

        def __getstate__(self) -> dict[str, Any]:
            # Tune pickles its callbacks; the thread stays in this process.
            return {}

        def _look(self) -> None:
            while not self._over.wait(LOOK_EVERY_S):
                self.found[whose(sys._current_frames()[self._main])] += 1

    meter = Watched(plan["first"], plan["trials"])
    control_plane_side.search(plan, meter)
    ms_a_result = 1000 / meter.summary()["results_per_s"]
    looks = meter.found.total()
    print(json.dumps({**{name: ms_a_result * count / looks for name, count in meter.found.items()}, ALL: ms_a_result}))


def main() -> None:
    """Take turns."""
    options = options_of(__doc__).parse_args()
    trials = 12 if options.quick else 200

    def measured(name: str, sampler: str) -> Measured:
        return side(name, sampler, trials, trials // 2, script="control_plane_where.py", timeout_s=900)

    with recording("control_plane_where", options) as result:
        repeats = options.repeats or (1 if options.quick else 2)
        for sampler in ("tpe",) if options.quick else ("tpe", "random"):
            sides = {"A": lambda of=sampler: measured("ours", of), "B": lambda of=sampler: measured("bare", of)}
            found = take_turns(sides, repeats, quick=options.quick)
            result["rows"] += rows_by_owner(found, f"for each result, {sampler}", "ms")
        result["notes"] = {"trials": trials}


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        search(json.loads(sys.argv[1]))
    else:
        main()
