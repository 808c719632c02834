"""A Ray cluster and a Redis of their own, and drivers on them, for `scale.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # for the machines of the tests

from scale_redis import server  # noqa: E402

from tests.faults.cluster import Machine, environment  # noqa: E402

LOGICAL_CPUS = 9_000
WANTED_PER_S = 1_000.0  # results that the workers would give if the driver kept up: more than it can
# "searching": stopped by ASHA after 2, 8 or not before 27 epochs, so that much of the time new trials begin;
# "training on": no trial ends, results and nothing else.
LOADS: dict[str, dict[str, int]] = {
    "searching": {},
    "training on": {"max_epochs": 1_000_000, "grace_period": 1_000_000},
}
ENVIRONMENT = environment(PYTHONPATH=f"{ROOT}:{Path(__file__).parent}", RAY_DEDUP_LOGS="0")


@dataclass(frozen=True)
class Extent:
    """How much to measure: numbers of workers and studies, trials ended before a suggestion, seconds.

    patience_s: how long to wait before each driver for others to leave the processors alone.
    """

    repeats: int
    measure_s: float
    append_s: float
    ended: tuple[int, ...]
    processes: tuple[int, ...]
    hosted: tuple[int, ...]
    studies: tuple[int, ...]
    study_workers: int
    patience_s: float


class Bench:
    """A Ray cluster and a Redis, and drivers on them."""

    def __init__(self, folder: Path, head: Machine, redis_url: str, plan: Extent) -> None:
        self.folder = folder
        self.head = head
        self.repeats = plan.repeats
        self.patience_s = plan.patience_s
        self._redis_url = redis_url
        self._measure_s = plan.measure_s
        self._studies = 0
        self._drivers: list[subprocess.Popen[str]] = []

    def start_driver(self, workers: int, load: str, *, hosted: bool = True, **plan: Any) -> subprocess.Popen[str]:
        """Start a driver whose workers ask for more than it can give."""
        self._studies += 1
        arguments = {
            "address": self.head.address,
            "redis": self._redis_url,
            "study": f"study-{self._studies}",
            "storage": str(self.folder / "storage"),
            "workers": workers,
            "hosted": hosted,
            "epoch_s": workers / WANTED_PER_S,
            "measure_s": self._measure_s,
            **LOADS[load],
            **plan,
        }
        command = [sys.executable, str(Path(__file__).parent / "scale_driver.py"), json.dumps(arguments)]
        with (self.folder / "drivers.log").open("a") as log:
            driver = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=log, text=True)
        self._drivers.append(driver)
        return driver

    def close(self) -> None:
        """End the drivers that are still there."""
        for driver in self._drivers:
            driver.kill()
            driver.wait()

    def measured(self, driver: subprocess.Popen[str]) -> dict[str, Any]:
        """What it printed. Ray's processes of it have ended soon after."""
        output, _ = driver.communicate(timeout=300)
        if driver.returncode:
            raise SystemExit(f"a driver failed:\n{(self.folder / 'drivers.log').read_text()[-3000:]}")
        result: dict[str, Any] = json.loads(output.splitlines()[-1])
        time.sleep(2.0)
        return result


def cluster_cpu_s(head: Machine) -> float:
    """CPU time of the raylet and the GCS so far."""
    ticks = 0
    for name in ("raylet/raylet", "gcs_server"):
        for pid in head.pids(name):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def bench_in(plan: Extent, folder: Path) -> Iterator[Bench]:
    """A Redis, and a head with room for all logical CPUs that drivers reserve."""
    with server(folder / "redis", "always") as url:
        head = Machine(folder / "head.log", cpus=LOGICAL_CPUS)
        try:
            head.wait_until_started()
            with closing(Bench(folder, head, url, plan)) as bench:
                yield bench
        finally:
            head.kill()
