"""From typing `tuner search digits` to the first epoch reported, with nothing running and nothing decoded.

    python benchmarks/speed/start.py           # writes benchmarks/results/speed_start.json
    python benchmarks/speed/start.py --quick   # one start, writes nothing

Each turn has a new TUNER_HOME: Redis, Ray and the worker are started, the digits are prepared. The programs' files are
in the page cache. The first epoch is reported when its score is in Redis. There is no B. What the seconds were spent on
is told by what a start leaves behind (`start_phases.py`), in the same turn.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import ROOT, Goal, Measured, compared, options_of, recording, take_turns, values
from start_phases import phases, processor_time

from tuner.errors import TunerError
from tuner.store import client, embedded
from tuner.store.journal import RedisJournal
from tuner.store.server import socket_path

DEADLINE_S = 120.0
NAME = "start"
ALL = "`tuner search digits` to the first epoch reported"


def first_report() -> Measured:
    """Start a search, wait for its first score, and let it end: seconds in all, of each phase, and of processors."""
    with tempfile.TemporaryDirectory(prefix="speed-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        environment = {**os.environ, "TUNER_HOME": folder}
        command = [sys.executable, "-m", "tuner", "search", "digits", "--gpus", "0", "--name", NAME]
        command += ["--trials", "1", "--max-epochs", "1"]
        start_s = time.time()
        search = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        try:
            while not has_score(home):
                if time.time() - start_s > DEADLINE_S or search.poll():
                    raise SystemExit("the search reported no epoch; try the command by hand")
                time.sleep(0.02)
            end_s = time.time()
            used = processor_time(search.pid, home)
            with client.connect(f"unix://{socket_path(home / 'redis')}") as store:
                found = phases(store, NAME, home, search.pid, start_s, end_s)
            search.wait(DEADLINE_S)
        finally:
            search.kill()
            embedded.stop(home)
    return {ALL: end_s - start_s, **found, **{f"processors' time: {name}": value for name, value in used.items()}}


def has_score(home: Path) -> bool:
    """Whether the search in `home` has a score in its journal by now."""
    socket = socket_path(home / "redis")
    if not socket.exists():
        return False
    try:
        with client.connect(f"unix://{socket}") as store:
            return any("intermediate_value" in entry for entry in RedisJournal(store, NAME).read_logs(0))
    except TunerError:
        return False  # it is still starting


def main() -> None:
    """Take turns with nobody."""
    options = options_of(__doc__).parse_args()
    with recording("start", options) as result:
        repeats = options.repeats or (1 if options.quick else 5)
        found = take_turns({"A": first_report}, repeats, quick=options.quick)["A"]
        goal = Goal("a", 12.0, at_least=False)
        result["rows"] = [compared(ALL, "s", values(found, ALL), goal=goal)]
        result["rows"] += [compared(what, "s", values(found, what)) for what in found[0] if what != ALL]


if __name__ == "__main__":
    main()
