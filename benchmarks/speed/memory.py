"""What does the kernel's memory cost a training step, and what do the means against it cost in memory?

    python benchmarks/speed/memory.py --data-dir FOLDER   # writes benchmarks/results/speed_memory.json
    python benchmarks/speed/memory.py --quick             # seconds, on the digits, writes nothing

glibc asks the kernel for each large tensor anew and gives it back at once, so that its pages are cleared at every step.
B: as it is. A, each in its turn: the limits raised by GLIBC_TUNABLES; by `mallopt` from within the process, which asks
nothing of whoever starts it; and jemalloc, where Ray brings it along, told to keep what is free. Each turn is a process
of its own with one thread, which trains part of an epoch, with validation and checkpoint. The "wide" network has
tensors of more than 32 MiB, which glibc's own adaptation never keeps.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from bench import Measured, compared, options_of, recording, refuse_no_data, run_side, take_turns, values
from ours import load

TUNABLES = "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=4294967296"
NETWORKS: dict[str, dict[str, int]] = {"as the space begins": {}, "wide": {"width": 64, "batch_size": 256}}


def jemalloc() -> Path | None:
    """The library that Ray's wheel carries for its own processes; None if it is not there."""
    found = importlib.util.find_spec("ray")
    places = [Path(place) / "core" / "libjemalloc.so" for place in (found and found.submodule_search_locations) or ()]
    return next((place for place in places if place.exists()), None)


def main() -> None:
    """Take turns, for each network."""
    parser = options_of(__doc__, data=True)
    options = parser.parse_args()
    refuse_no_data(parser, options)
    means: dict[str, dict[str, str]] = {"GLIBC_TUNABLES": {"GLIBC_TUNABLES": TUNABLES}, "mallopt": {}}
    library = jemalloc()
    if options.quick:
        del means["GLIBC_TUNABLES"]
    elif library is not None:
        means["jemalloc"] = {"LD_PRELOAD": str(library), "MALLOC_CONF": "dirty_decay_ms:-1,muzzy_decay_ms:-1"}
    with tempfile.TemporaryDirectory(prefix="speed-") as cache, recording("memory", options) as result:
        where = {"data_dir": str(options.data_dir.absolute()) if options.data_dir else "", "cache": cache}
        load(**where, device="cpu")
        share = 0.25 if options.quick else 0.04

        def side(changes: dict[str, int], name: str, environment: dict[str, str]) -> Measured:
            plan = {**where, "device": "cpu", "threads": 1, "epochs": 1, "share": share, "changes": changes}
            return run_side("ours.py", {**plan, "keeps_memory": name == "mallopt"}, timeout_s=300, **environment)

        networks = NETWORKS if not options.quick else {"as the space begins": {}}
        for network, changes in networks.items():
            sides = {
                name: lambda name=name, variables=variables, changes=changes: side(changes, name, variables)
                for name, variables in {"B": {}, **means}.items()
            }
            found = take_turns(sides, options.repeats or (1 if options.quick else 2), quick=options.quick)
            for what, unit, key, less in (
                ("training pictures a second", "1/s", "images_per_s", False),
                ("peak memory", "MiB", "peak_mib", True),
                ("kernel time a picture", "us", "kernel_us_per_image", True),
            ):
                b = values(found["B"], key)
                result["rows"] += [
                    compared(f"{network}, {what}, {name}", unit, values(found[name], key), b, less_is_better=less)
                    for name in means
                ]


if __name__ == "__main__":
    main()
