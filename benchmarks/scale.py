"""How far one driver, one Redis and one Ray cluster go, with trials that sleep in place of training.

    python benchmarks/scale.py               # half an hour; writes benchmarks/results/scale.json and docs/scale.md
    python benchmarks/scale.py machines tpe  # measures parts of it anew
    python benchmarks/scale.py --quick       # less than a minute, a few workers, no machines that die; writes nothing
    python benchmarks/scale.py --markdown    # the tables of the recorded results

Drivers, servers and clusters are processes of their own (`scale_driver.py`, `scale_redis.py`, `scale_nodes.py`). Redis
syncs each write, as the program's own does, where nothing else is said.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import scale_tables
from main_job import circumstances
from quiet import wait_for_quiet
from scale_arithmetic import gpus_fed, spread, studies_carried
from scale_bench import ENVIRONMENT, LOADS, ROOT, WANTED_PER_S, Bench, Extent, bench_in, cluster_cpu_s
from scale_redis import appends_per_s, server
from scale_tpe import suggestion_ms

from tests.faults.cluster import Machine

RESULTS = Path(__file__).parent / "results" / "scale.json"
PAGE = ROOT / "docs" / "scale.md"
FULL = Extent(3, 8.0, 2.0, (250, 1_000, 4_000), (8, 32, 64), (8, 64, 256, 1_024), (1, 2, 4, 8), 64, 15.0)
QUICK = Extent(1, 1.5, 0.5, (250,), (4,), (16,), (2,), 8, 0.0)


def per_report(result: dict[str, Any], name: str, unit: float = 1.0) -> float:
    """Of something that was used while it was measured."""
    return float(result["used"].get(name, 0.0) / result["used"]["reports"] / unit)


def measure_driver(bench: Bench, workers: int, load: str, *, hosted: bool) -> dict[str, Any]:
    """One driver with so many workers."""
    runs = []
    for _ in range(bench.repeats):
        wait_for_quiet(bench.patience_s)
        runs.append(bench.measured(bench.start_driver(workers, load, hosted=hosted)))
    middle = statistics.median_low(per_report(run, "redis_in_bytes") for run in runs)
    run = next(run for run in runs if per_report(run, "redis_in_bytes") == middle)
    commands = {
        name.removeprefix("cmdstat_"): float(f"{per_report(run, name):.3g}")
        for name, count in run["used"].items()
        if name.startswith("cmdstat_") and count > 0.01 * run["used"]["reports"]
    }
    row = {
        "workers": workers,
        "hosted": hosted,
        "load": load,
        "epoch_s": workers / WANTED_PER_S,
        "reports_per_s": spread(run["used"]["reports"] / run["window_s"] for run in runs),
        "cpu_ms_per_report": spread(per_report(run, "driver_thread_cpu_s", 1e-3) for run in runs),
        "start_s": spread(run["start_s"] for run in runs),
        "trials_so_far": spread(run["trials_so_far"] - workers for run in runs),
        "driver_peak_mib": spread(run["driver_peak_mib"] for run in runs),
        "load_average": spread(run["load"] for run in runs),
        "redis": {
            "calls_per_report": dict(sorted(commands.items(), key=lambda item: -item[1])),
            "in_bytes": round(per_report(run, "redis_in_bytes")),
            "out_bytes": round(per_report(run, "redis_out_bytes"), 1),
            "cpu_ms": round(per_report(run, "redis_cpu_s", 1e-3), 3),
            "memory_bytes_per_trial": round(run["redis_bytes"] / run["trials_so_far"]),
        },
    }
    print(f"{workers} workers, {load}, hosted {hosted}: {row['reports_per_s']} results/s", flush=True)
    return row


def measure_studies(bench: Bench, studies: int, workers: int) -> dict[str, Any]:
    """Several drivers at once on one Redis and one cluster."""
    found = []
    for repeat in range(bench.repeats):
        go = bench.folder / f"go-{studies}-{repeat}"
        wait_for_quiet(bench.patience_s)
        drivers = [bench.start_driver(workers, "searching", start_file=str(go)) for _ in range(studies)]
        while len(list(bench.folder.glob(f"{go.name}.*"))) < studies:
            if any(driver.poll() for driver in drivers):
                raise SystemExit((bench.folder / "drivers.log").read_text()[-3000:])
            time.sleep(0.05)
        before_s = cluster_cpu_s(bench.head)
        go.touch()
        results = [driver.communicate(timeout=300)[0] for driver in drivers]
        used_s = cluster_cpu_s(bench.head) - before_s
        runs = [json.loads(result.splitlines()[-1]) for result in results]
        reports = sum(run["used"]["reports"] for run in runs)
        found.append(
            {
                "reports_per_s": sum(run["used"]["reports"] / run["window_s"] for run in runs),
                "cpu_ms_per_report": 1e3 * sum(run["used"]["driver_thread_cpu_s"] for run in runs) / reports,
                # Each driver reads what all of them made Redis use in nearly the same time.
                "redis_cpu_ms": 1e3 * statistics.mean(run["used"]["redis_cpu_s"] for run in runs) / reports,
                "cluster_cpu_ms": 1e3 * used_s / reports,
            }
        )
        time.sleep(2.0)
    print(f"{studies} studies: {found}", flush=True)
    return {"studies": studies, "workers": workers, **{key: spread(run[key] for run in found) for key in found[0]}}


def measure_machines(plan: Extent, folder: Path) -> dict[str, Any]:
    """Machines that join a search and are killed."""
    wait_for_quiet(plan.patience_s)
    with server(folder / "redis", "always") as url, (folder / "driver.log").open("w") as log:
        head = Machine(folder / "head.log", cpus=2)
        try:
            head.wait_until_started()
            command = [sys.executable, str(Path(__file__).parent / "scale_nodes.py"), head.address, url]
            command += [str(folder), str(plan.repeats)]
            output = subprocess.check_output(command, cwd=ROOT, env=ENVIRONMENT, stderr=log, text=True, timeout=600)
        finally:
            head.kill()
    found = json.loads(output.splitlines()[-1])  # before it, Ray told of the machines that died
    runs = found.pop("machines")
    once = {key: spread(run[key] for run in runs) for key in ("start_to_join_s", "join_to_first_report_s")}
    each = {key: spread(value for run in runs for value in run[key]) for key in ("epochs_lost", "kill_to_known_s")}
    return {"machines": {**found, **once, **each}}


def measure_tpe(plan: Extent, _folder: Path) -> dict[str, Any]:
    """Suggestions."""
    return {"tpe": suggestion_ms(plan.ended, plan.repeats)}


def measure_appends(plan: Extent, folder: Path) -> dict[str, Any]:
    """Redis alone."""
    rows = []
    for policy in ("always", "everysec"):
        with server(folder / policy, policy) as url:
            for clients in (1, 4):
                rates = [appends_per_s(url, clients, plan.append_s, ENVIRONMENT) for _ in range(plan.repeats)]
                rows.append({"appendfsync": policy, "clients": clients, "appends_per_s": spread(rates)})
    return {"appends": rows}


def measure_processes(plan: Extent, folder: Path) -> dict[str, Any]:
    """A driver over worker processes."""
    with bench_in(plan, folder) as bench:
        return {"processes": [measure_driver(bench, count, "searching", hosted=False) for count in plan.processes]}


def measure_hosted(plan: Extent, folder: Path) -> dict[str, Any]:
    """A driver over hosted workers, and where its time goes."""
    rows, shares = [], []
    with bench_in(plan, folder) as bench:
        for load in LOADS:
            rows += [measure_driver(bench, count, load, hosted=True) for count in plan.hosted]
            run = bench.measured(bench.start_driver(plan.hosted[-1], load, traced=True))
            parts = {part: round(share, 4) for part, share in run["shares"].items()}
            shares.append({"workers": plan.hosted[-1], "load": load, "shares": parts})
    return {"hosted": rows, "shares": shares}


def measure_several(plan: Extent, folder: Path) -> dict[str, Any]:
    """Several drivers."""
    with bench_in(plan, folder) as bench:
        return {"studies": [measure_studies(bench, count, plan.study_workers) for count in plan.studies]}


SECTIONS: dict[str, Callable[[Extent, Path], dict[str, Any]]] = {
    "tpe": measure_tpe,
    "appends": measure_appends,
    "machines": measure_machines,
    "processes": measure_processes,
    "hosted": measure_hosted,
    "studies": measure_several,
}


def measure(result: dict[str, Any], section: str, plan: Extent) -> dict[str, Any]:
    """The results with one section measured anew, and what follows from them."""
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="scale-", ignore_cleanup_errors=True) as folder:
        found = SECTIONS[section](plan, Path(folder))
    load = {"load_before": before, "load_after": os.getloadavg()[0]}
    about = {**result.get("circumstances", {}), section: {**circumstances(), **load, "repeats": plan.repeats}}
    result = {**result, "circumstances": about, **found}
    if "hosted" in result:
        result["gpus"] = gpus_fed(result["hosted"])
    if "studies" in result and "appends" in result:
        result["carried"] = studies_carried(result)
    return result


def main() -> None:
    """Measure, or print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="a try: a few workers, nothing is written")
    parser.add_argument("--markdown", action="store_true", help="print the tables of the recorded results")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"there is no section {', '.join(unknown)}: give some of {', '.join(SECTIONS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # clusters and servers are to end as well
    result = json.loads(RESULTS.read_text()) if RESULTS.exists() and not options.quick else {}
    if not options.markdown:
        everything = [section for section in SECTIONS if section != "machines" or not options.quick]
        for section in options.sections or everything:
            result = measure(result, section, QUICK if options.quick else FULL)
            if not options.quick:
                RESULTS.write_text(json.dumps(result, indent=1) + "\n")
                scale_tables.write_page(PAGE, result)
    for name, table in scale_tables.TABLES.items():
        if scale_tables.NEEDS.get(name, name) in result:
            print(f"\n{name}\n\n{table(result)}")


if __name__ == "__main__":
    main()
