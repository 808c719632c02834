"""Where a driver's time goes: each measured function counts its own time, without that of the measured ones inside."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import optuna
import ray
from ray.air.execution._internal import RayActorManager
from ray.tune.execution.tune_controller import TuneController
from ray.tune.schedulers import FIFOScheduler

from tuner.search import driver
from tuner.search.newtrials import NewTrials
from tuner.search.record import StudyRecord
from tuner.search.scheduler import StudyScheduler
from tuner.search.searcher import StudySearcher
from tuner.store.journal import RedisJournal

WAITING = "waiting for reports"
REST = "the rest of Tune's loop"
PARTS = {
    "Ray: which report is ready (ray.wait)": [(ray, "wait"), (RayActorManager, "next")],
    "Ray: fetching it": [(ray, "get")],
    "Ray: asking the worker for the next epoch": [(RayActorManager, "schedule_actor_task")],
    "Tune: processing a result, but for what follows": [(TuneController, "_on_training_result")],
    "Tune: which trial to run (all trials ever)": [(FIFOScheduler, "choose_trial_to_run")],
    "tuner: looking for silent attempts": [(StudyScheduler, "choose_trial_to_run")],
    "tuner: what to try next, waiting for it (TPE)": [(NewTrials, "suggestion")],
    "tuner: what to try next, asking for it": [(NewTrials, "prepare"), (NewTrials, "passed")],
    "tuner: handing out attempts": [(StudySearcher, "suggest")],
    "tuner: recording a report, ASHA": [(StudyRecord, "report")],
    "tuner: Optuna's replay": [(optuna.storages.JournalStorage, "_sync_with_backend")],
    "tuner: appending to Redis": [(RedisJournal, "_append")],
    "tuner: display, metrics, checkpoints": [(driver._Hooks, "trial_changed")],
}


class Clock:
    """Seconds by part, of the thread that installed it."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._began_s = time.perf_counter()
        self._inside: list[float] = []  # of each call in progress, the time of the measured calls in it

    def install(self) -> None:
        """Measure from now on."""
        for part, functions in PARTS.items():
            there = [(owner, name) for owner, name in functions if hasattr(owner, name)]
            assert there, f"nothing is there any more that would be measured as {part!r}"
            for owner, name in there:
                setattr(owner, name, self._measured(getattr(owner, name), part))

    def restart(self) -> None:
        """Forget what was measured."""
        self.seconds.clear()
        self._began_s = time.perf_counter()

    def shares(self) -> dict[str, float]:
        """Part -> share of the time since `restart`; what no part counts is `REST`."""
        total_s = time.perf_counter() - self._began_s
        shares = {part: self.seconds[part] / total_s for part in PARTS}
        return {**shares, REST: 1.0 - sum(shares.values())}

    def _measured(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Any:
            self._inside.append(0.0)
            began_s = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                took_s = time.perf_counter() - began_s
                self.seconds[part] += took_s - self._inside.pop()
                if self._inside:
                    self._inside[-1] += took_s

        return measured
