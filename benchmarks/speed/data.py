"""How long pictures take to become tensors, and how much memory several workers need for them.

    python benchmarks/speed/data.py --data-dir FOLDER   # writes benchmarks/results/speed_data.json
    python benchmarks/speed/data.py --quick             # seconds, a few drawn pictures, writes nothing

A: the training pictures decoded into an empty cache; opened again by another process; and by several at once. B: the
same folder by torchvision's `ImageFolder` into one uint8 tensor, in one process, which is what it costs at each start.
The files are in the page cache. Memory is what the kernel counts for the processes together (Pss: a page that several
share counts once), less what they take without pictures; each has looked at all pictures.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import HERE, Goal, Measured, compared, options_of, recording, refuse_no_data, run_side, take_turns, values

PROCESSES = (1, 2, 4)


def pss_mib() -> float:
    """Memory of this process, its share of what it shares."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024


def open_pictures(plan: dict[str, Any]) -> Any:
    """The pictures as a tensor: from our cache, by torchvision, or none of them."""
    if plan.get("empty"):
        return None
    if plan["side"] == "ours":
        from tuner.training.data import load_training_data
        from tuner.training.dataspec import DataSpec

        return load_training_data(DataSpec(plan["folder"], plan["folder"]), Path(plan["cache"]), "cpu").images
    import torch
    from torchvision.datasets import ImageFolder
    from torchvision.transforms.functional import pil_to_tensor

    return torch.stack([pil_to_tensor(picture) for picture, _ in ImageFolder(f"{plan['folder']}/train")])


def work(plan: dict[str, Any]) -> None:
    """Open the pictures, then tell how much memory that took while all others hold theirs too."""
    import torch  # noqa: F401 - what every worker imports is not counted

    if plan["side"] == "ours":
        pass
    else:
        import torchvision.datasets  # noqa: F401
    start_s, cpu_s = time.perf_counter(), used_s()
    images = open_pictures(plan)
    took_s = time.perf_counter() - start_s
    if images is not None:
        images.sum()
    print(json.dumps({"seconds": took_s, "cpu_s": used_s() - cpu_s}), flush=True)
    if plan.get("waits"):
        sys.stdin.readline()
        print(json.dumps({"pss_mib": pss_mib()}), flush=True)
        sys.stdin.readline()


def used_s() -> float:
    """CPU time of this process and of those that it has waited for."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def together_mib(plan: dict[str, Any], processes: int) -> float:
    """Memory of so many processes that all hold the pictures."""
    command = [sys.executable, str(HERE / "data.py"), json.dumps({**plan, "waits": True})]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    try:
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()
        return sum(told(process) for process in running)
    finally:
        for process in running:
            process.communicate("\n")


def told(process: subprocess.Popen[str]) -> float:
    """What a process says of its memory while the others still hold theirs."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return float(json.loads(process.stdout.readline())["pss_mib"])


def draw_pictures(folder: Path) -> Path:
    """A small folder of JPEGs, for a try."""
    import numpy as np
    from PIL import Image

    drawn = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8)
    for number, pixels in enumerate(drawn):
        path = folder / "pictures" / ("train" if number < 50 else "test") / f"class-{number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder / "pictures"


def main() -> None:
    """Take turns."""
    parser = options_of(__doc__, data=True)
    options = parser.parse_args()
    refuse_no_data(parser, options)
    repeats = options.repeats or (1 if options.quick else 3)
    with tempfile.TemporaryDirectory(prefix="speed-") as temporary, recording("data", options) as result:
        folder = Path(temporary)
        pictures = draw_pictures(folder) if options.quick else options.data_dir.absolute() / "cifar10"
        plan = {"folder": str(pictures), "cache": str(folder / "cache-0")}
        first: list[Measured] = []

        def decode() -> Measured:
            cache = str(folder / f"cache-{len(first)}")
            first.append(run_side("data.py", {**plan, "side": "ours", "cache": cache}, timeout_s=600))
            return {**first[-1], "cores": first[-1]["cpu_s"] / first[-1]["seconds"]}

        found = take_turns(
            {
                "A, decoding": decode,
                "A, later": lambda: run_side("data.py", {**plan, "side": "ours"}, timeout_s=60),
                "B": lambda: run_side("data.py", {**plan, "side": "torchvision"}, timeout_s=600),
            },
            repeats,
            quick=options.quick,
        )
        b = values(found["B"], "seconds")
        cores = Goal("a", 0.8 * (os.cpu_count() or 1))
        result["rows"] = [
            compared("first decode", "s", values(found["A, decoding"], "seconds"), b, less_is_better=True),
            compared("cores that the first decode keeps busy", "", values(found["A, decoding"], "cores"), goal=cores),
            compared("later start", "s", values(found["A, later"], "seconds"), b, less_is_better=True),
            compared(
                "later start, seconds", "s", values(found["A, later"], "seconds"), goal=Goal("a", 1.0, at_least=False)
            ),
        ]

        def memory_of(side: str, processes: int) -> Measured:
            whole, empty = ({**plan, "side": side, "empty": empty} for empty in (False, True))
            return {"mib": together_mib(whole, processes) - together_mib(empty, processes)}

        for processes in PROCESSES[: 1 if options.quick else 3]:
            sides = {
                "A": lambda processes=processes: memory_of("ours", processes),
                "B": lambda processes=processes: memory_of("torchvision", processes),
            }
            memory = take_turns(sides, 1, quick=options.quick)
            a, b = (values(memory[name], "mib") for name in "AB")
            result["rows"].append(
                compared(f"memory of {processes} processes that hold the pictures", "MiB", a, b, less_is_better=True)
            )


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        work(json.loads(sys.argv[1]))
    else:
        main()
