"""One driver over workers that sleep, measured: run by `scale.py` in a process of its own; prints one line of JSON.

python benchmarks/scale_driver.py '{"address": ..., "redis": ..., "study": ..., "workers": 64, ...}'
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
import redis
from rich.console import Console
from scale_clock import Clock
from scale_hosted import EPOCH_S, Hosted, HostedActorManager, Sleeper

from tuner.progress import PlainLines, SearchView
from tuner.search import actors, driver
from tuner.slots import Slots
from tuner.space import load_space
from tuner.spec import StudySpec
from tuner.store import catalog, client
from tuner.store.keys import StudyKeys
from tuner.training.dataspec import DataSpec


@dataclass(frozen=True)
class Plan:
    """What to measure.

    hosted: the workers share a process. epoch_s: what they sleep. measure_s: for how long to measure, from the moment
    when each worker has reported. max_epochs, grace_period: of the study. start_file: measuring waits until it is
    there, so that several drivers begin together. traced: say where the time goes, which slows the driver a little.
    """

    address: str
    redis: str
    study: str
    storage: str
    workers: int
    hosted: bool
    epoch_s: float
    measure_s: float
    max_epochs: int = 27
    grace_period: int = 2
    start_file: str = ""
    traced: bool = False


class Meter:
    """The display of the search, which counts; ends the search when it has counted for long enough."""

    def __init__(self, plan: Plan, store: redis.Redis, lines: PlainLines, clock: Clock | None) -> None:
        self._plan = plan
        self._store = store
        self._lines = lines
        self._clock = clock
        self._epochs: dict[int, int] = {}
        self._reports = 0
        self._began: dict[str, float] | None = None
        self._began_s = 0.0
        self._launched_s = time.perf_counter()
        self.start_s = 0.0
        self.result: dict[str, Any] = {}

    def stopping(self, why: str) -> None:
        """Not before it has measured."""
        raise AssertionError(why)

    def trial_changed(self, trial: Any) -> None:
        """Count it."""
        self._lines.trial_changed(trial)
        known = self._epochs.get(trial.number, 0)
        self._epochs[trial.number] = len(trial.values)
        self._reports += len(trial.values) - known
        now_s = time.perf_counter()
        if self._began is None:
            if self._may_begin():
                self.start_s = now_s - self._launched_s
                self._began_s, self._began = now_s, self._state()
                if self._clock is not None:
                    self._clock.restart()
        elif now_s - self._began_s >= self._plan.measure_s:
            self._end(now_s - self._began_s)

    def _may_begin(self) -> bool:
        if not self.start_s and sum(epochs > 0 for epochs in self._epochs.values()) < self._plan.workers:
            return False
        if not self.start_s:
            self.start_s = time.perf_counter() - self._launched_s
            if self._plan.start_file:
                Path(f"{self._plan.start_file}.{self._plan.study}").touch()
        return not self._plan.start_file or Path(self._plan.start_file).exists()

    def _state(self) -> dict[str, float]:
        """What the driver and its Redis have used so far; of Redis, what all drivers used."""
        state: dict[str, float] = {
            "reports": self._reports,
            "trials": len(self._epochs),
            "driver_cpu_s": time.process_time(),
            "driver_thread_cpu_s": time.thread_time(),
        }
        for name, entry in self._store.info("commandstats").items():
            state[name] = entry["calls"]
        stats, cpu = self._store.info("stats"), self._store.info("cpu")
        state["redis_in_bytes"] = stats["total_net_input_bytes"]
        state["redis_out_bytes"] = stats["total_net_output_bytes"]
        state["redis_cpu_s"] = cpu["used_cpu_sys"] + cpu["used_cpu_user"]
        return state

    def _end(self, window_s: float) -> None:
        assert self._began is not None
        now = self._state()
        used = {name: value - self._began.get(name, 0) for name, value in now.items()}
        journal = StudyKeys(self._plan.study).journal
        self.result = {
            **asdict(self._plan),
            "start_s": self.start_s,
            "window_s": window_s,
            "used": used,
            "trials_so_far": now["trials"],
            "journal_entries": self._store.llen(journal),
            "redis_bytes": self._store.memory_usage(journal, samples=0),  # of all entries, not of a sample
            "driver_peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "load": os.getloadavg()[0],
        }
        if self._clock is not None:
            self.result["shares"] = self._clock.shares()
        # Trials are in flight; a search is not ended in order to measure the next one.
        print(json.dumps(self.result), flush=True)
        os._exit(0)


def sleeping_spec(name: str, storage: str, *, max_epochs: int = 27, grace_period: int = 2) -> StudySpec:
    """A study without end, over the space that is shipped for CIFAR-10 on GPUs."""
    return StudySpec(
        name=name,
        data=DataSpec(dataset="cifar10", data_dir="/nowhere"),
        data_fingerprint="0" * 64,
        space=load_space("cifar10"),
        trials=1_000_000,
        max_epochs=max_epochs,
        grace_period=grace_period,
        storage=storage,
    )


def main() -> None:
    """Run until `Meter` ends the process."""
    plan = Plan(**json.loads(sys.argv[1]))
    os.environ[EPOCH_S] = str(plan.epoch_s)
    clock = Clock() if plan.traced else None
    if plan.hosted:
        actors.ActorManager = HostedActorManager  # type: ignore[misc]
    if clock is not None:
        clock.install()
    store = client.connect(plan.redis)
    spec = sleeping_spec(plan.study, plan.storage, max_epochs=plan.max_epochs, grace_period=plan.grace_period)
    catalog.create_study(store, spec.name, spec.to_json())
    ray.init(address=plan.address, log_to_driver=False, logging_level="ERROR")
    with open(os.devnull, "w") as nowhere:
        lines = PlainLines(Console(file=nowhere), SearchView(spec, (), spec.trials, time.monotonic))
        meter = Meter(plan, client.connect(plan.redis), lines, clock)
        driver.run(
            spec,
            store,
            Slots(plan.workers, 1, 0.0, 1, most=plan.workers),
            cache=Path(str(plan.epoch_s)),
            show=lambda _trials, _wanted: nullcontext(meter),
            trainable=Hosted if plan.hosted else Sleeper,
        )


if __name__ == "__main__":
    main()
