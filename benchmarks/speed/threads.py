"""Is a trial on each core faster than one trial on all of them?

    python benchmarks/speed/threads.py --data-dir FOLDER   # writes benchmarks/results/speed_threads.json
    python benchmarks/speed/threads.py --quick             # seconds, on the digits, writes nothing

A: as many trials at once as there are cores, with a thread each, as a search on CPUs does by default; their training
pictures a second together. B: one trial with as many threads. Each trial is a process (`ours.py`) that trains part of
an epoch, with validation and checkpoint; those of A begin together.
"""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor

from bench import Measured, compared, options_of, recording, refuse_no_data, run_side, take_turns, values
from ours import load


def main() -> None:
    """Take turns."""
    parser = options_of(__doc__, data=True)
    options = parser.parse_args()
    refuse_no_data(parser, options)
    cores = 1 if options.quick else os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="speed-") as cache, recording("threads", options) as result:
        where = {"data_dir": str(options.data_dir.absolute()) if options.data_dir else "", "cache": cache}
        load(**where, device="cpu")
        plan = {**where, "device": "cpu", "epochs": 1, "share": 0.25 if options.quick else 0.2}

        def at_once(trials: int, threads: int) -> Measured:
            with ThreadPoolExecutor(trials) as pool:
                running = [
                    pool.submit(run_side, "ours.py", {**plan, "threads": threads}, timeout_s=300) for _ in range(trials)
                ]
                return {"images_per_s": sum(trial.result()["images_per_s"] for trial in running)}

        found = take_turns(
            {"A": lambda: at_once(cores, 1), "B": lambda: at_once(1, cores)},
            options.repeats or (1 if options.quick else 3),
            quick=options.quick,
        )
        a, b = (values(found[side], "images_per_s") for side in "AB")
        result["rows"] = [compared(f"{cores} trials at once against one with {cores} threads", "1/s", a, b)]


if __name__ == "__main__":
    main()
