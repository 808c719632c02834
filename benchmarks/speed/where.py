"""Where does the time of a training step go? Needs torch, torchvision and Pillow; on processors.

    python benchmarks/speed/where.py --data-dir FOLDER   # writes benchmarks/results/speed_where.json
    python benchmarks/speed/where.py --quick             # seconds, on the digits, writes nothing

A and B are those of `pipeline.py`, under torch's profiler, which costs a few percent: milliseconds for each batch of
training, validation and checkpoints shared out among the batches. What B takes longer in a row is what its number
format, its order in memory and its way to read pictures cost; what A spends on convolutions no pipeline can save.
"""

from __future__ import annotations

import os
import tempfile

from bench import compared, options_of, recording, refuse_no_data, run_side, take_turns
from ours import load


def main() -> None:
    """Take turns."""
    parser = options_of(__doc__, data=True)
    options = parser.parse_args()
    refuse_no_data(parser, options)
    quick = options.quick
    with tempfile.TemporaryDirectory(prefix="speed-") as cache, recording("where", options) as result:
        where = {"data_dir": str(options.data_dir.absolute()) if options.data_dir else "", "cache": cache}
        load(**where, device="cpu")
        threads = 1 if quick else os.cpu_count() or 1
        plan = {**where, "device": "cpu", "threads": threads, "share": 0.25 if quick else 0.1, "sections": True}
        found = take_turns(
            {
                "A": lambda: run_side("ours.py", {**plan, "epochs": 1}, timeout_s=300),
                "B": lambda: run_side(
                    "tutorial.py", {**plan, "workers": 0, "images": 256 if quick else 4_000}, timeout_s=300
                ),
            },
            options.repeats or (1 if quick else 3),
            quick=quick,
        )
        sides = {side: [{**turn, "all": sum(turn.values())} for turn in turns] for side, turns in found.items()}
        names = sorted(sides["A"][0], key=lambda name: -sides["A"][0][name])
        for name in names:
            a, b = ([turn.get(name, 0.0) for turn in sides[side]] for side in "AB")
            result["rows"].append(compared(name, "ms", a, b, less_is_better=True))


if __name__ == "__main__":
    main()
