"""Machines that join a search and are killed: how soon they are used, and what their end costs.

    python benchmarks/scale_nodes.py ADDRESS REDIS_URL FOLDER TIMES

Run by `scale.py` in a process of its own, which is the driver; prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import ray
from scale_driver import sleeping_spec
from scale_hosted import SAVE_EVERY, Rarely

from tests.faults.cluster import Machine
from tuner.search import driver
from tuner.slots import Slots
from tuner.store import catalog, client

EPOCH_S = 0.5
DEADLINE_S = 180.0
CPUS = 2  # of each machine: trials at once


class Watch:
    """The display of the search: remembers who reported when, for another thread to look at."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._trials: dict[int, Any] = {}
        self._reported: dict[int, float] = {}  # process -> when its last report came

    def stopping(self, why: str) -> None:
        """It is not stopped."""
        raise AssertionError(why)

    def trial_changed(self, trial: Any) -> None:
        """Remember it."""
        with self._changed:
            before = self._trials.get(trial.number)
            self._trials[trial.number] = trial
            if before is not None and len(trial.values) > len(before.values):
                self._reported[process_of(trial)] = time.monotonic()
            self._changed.notify_all()

    def first_report(self, pids: Any) -> float:
        """When one of the processes reported; waits for it."""
        end_s = time.monotonic() + DEADLINE_S
        with self._changed:
            while not (found := [when for pid, when in self._reported.items() if pid in pids()]):
                assert self._changed.wait(end_s - time.monotonic()), "no report"
            return min(found)

    def running_on(self, pids: list[int]) -> list[Any]:
        """The trials that those processes train."""
        with self._changed:
            running = [trial for trial in self._trials.values() if trial.state == "running" and trial.values]
            return [trial for trial in running if process_of(trial) in pids]

    def loss(self, number: int, attempt: int) -> tuple[float, Any]:
        """When the driver knew that the attempt was lost, and the trial as it was then."""
        end_s = time.monotonic() + DEADLINE_S
        with self._changed:
            while (trial := self._trials[number]).attempt == attempt and trial.state == "running":
                assert self._changed.wait(end_s - time.monotonic()), f"trial {number} is not lost"
            return time.monotonic(), trial


def process_of(trial: Any) -> int:
    """The process that reported last."""
    found = re.search(r":(\d+)", trial.worker)
    return int(found[1]) if found else 0


def living_nodes() -> set[str]:
    """By Ray's name for them."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def join_and_kill(address: str, log: Path, watch: Watch) -> dict[str, Any]:
    """One machine that joins, trains and is killed with -9."""
    known = living_nodes()
    began_s = time.monotonic()
    machine = Machine(log, cpus=CPUS, joins=address)
    try:
        while not living_nodes() - known:
            assert time.monotonic() < began_s + DEADLINE_S, log.read_text()
            time.sleep(0.02)
        joined_s = time.monotonic()
        used_s = watch.first_report(machine.pids)
        while len(there := watch.running_on(machine.pids())) < CPUS:
            assert time.monotonic() < used_s + DEADLINE_S, "only a part of the machine is used"
            time.sleep(0.02)
        killed_s = time.monotonic()
    finally:
        machine.kill()
    lost, known_s = [], []
    for trial in there:
        when_s, left = watch.loss(trial.number, trial.attempt)
        if not left.is_finished:  # it may have ended in the very last moment
            lost.append(len(left.values) - (left.checkpoint or {}).get("epoch", 0))
            known_s.append(when_s - killed_s)
    return {
        "start_to_join_s": joined_s - began_s,
        "join_to_first_report_s": used_s - joined_s,
        "epochs_lost": lost,
        "kill_to_known_s": known_s,
    }


def main() -> None:
    """A search whose second machine joins and dies again and again."""
    address, url, folder, times = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    store = client.connect(url)
    spec = sleeping_spec("machines", str(folder / "storage"), max_epochs=24, grace_period=24)
    catalog.create_study(store, spec.name, spec.to_json())
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    watch = Watch()

    def cycle() -> None:
        try:
            results = [join_and_kill(address, folder / f"machine-{number}", watch) for number in range(times)]
            print(json.dumps({"epoch_s": EPOCH_S, "save_every_epochs": SAVE_EVERY, "machines": results}), flush=True)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    threading.Thread(target=cycle, daemon=True).start()
    driver.run(
        spec,
        store,
        Slots(CPUS, 1, 0.0, 1, most=2 * CPUS),
        cache=Path(str(EPOCH_S)),
        show=lambda _trials, _wanted: nullcontext(watch),
        trainable=Rarely,
    )


if __name__ == "__main__":
    main()
