"""Does our training keep the hardware busier than the tutorial way? Needs torch, torchvision and Pillow.

    python benchmarks/speed/pipeline.py --data-dir FOLDER   # writes benchmarks/results/speed_pipeline.json
    python benchmarks/speed/pipeline.py --quick             # seconds, on the digits, writes nothing

A: epochs of a trial with all that belongs to them: augmentation, validation, checkpoint, report. B: `tutorial.py`, the
same network on the same pictures in batches of the same size: training steps alone, with the number of `DataLoader`
workers that is fastest here, which is tried first. Each turn is a process of its own, its first steps do not count.
"""

from __future__ import annotations

import os
import tempfile

from bench import Goal, compared, options_of, recording, refuse_no_data, run_side, take_turns, values
from ours import DEVICE, device_name, load

PIPELINE_GOAL = {"cpu": 6.0, "cuda": 15.0}
WORKERS = {"cpu": (0, 1, 2, 4), "cuda": (4, 8, 16)}


def main() -> None:
    """Find the best number of workers, then take turns."""
    parser = options_of(__doc__, data=True)
    options = parser.parse_args()
    refuse_no_data(parser, options)
    quick = options.quick
    with (
        tempfile.TemporaryDirectory(prefix="speed-") as cache,
        recording("pipeline", options, device=device_name(DEVICE)) as result,
    ):
        where = {"data_dir": str(options.data_dir.absolute()) if options.data_dir else "", "cache": cache}
        load(**where, device="cpu")  # decoded before anything is timed
        threads = 1 if quick else os.cpu_count() or 1
        plan = {**where, "device": DEVICE, "threads": threads, "share": 0.25 if quick else 0.5}

        def tutorial(workers: int, images: int) -> dict[str, float]:
            return run_side("tutorial.py", {**plan, "workers": workers, "images": images}, timeout_s=300)

        tried = {0: 0.0}
        if not quick:
            tried = {workers: tutorial(workers, 4_000)["images_per_s"] for workers in WORKERS[DEVICE]}
        best = max(tried, key=lambda workers: tried[workers])
        found = take_turns(
            {
                "A": lambda: run_side("ours.py", {**plan, "epochs": 1}, timeout_s=300),
                "B": lambda: tutorial(best, 256 if quick else 6_000),
            },
            options.repeats or (1 if quick else 3),
            quick=quick,
        )
        a, b = (values(found[side], "images_per_s") for side in "AB")
        result["rows"] = [
            compared("training pictures a second", "1/s", a, b, goal=Goal("ratio", PIPELINE_GOAL[DEVICE]))
        ]
        result["notes"] = {"DataLoader workers": best, "tried": {str(key): round(rate) for key, rate in tried.items()}}


if __name__ == "__main__":
    main()
