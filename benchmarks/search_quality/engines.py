"""Search methods for the simulator: this project's searcher and scheduler, and Ray Tune's own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Executor, Future
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
from optuna.distributions import BaseDistribution
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch
from simulate import Attempt

from tuner.exchange import Report
from tuner.search import new_search
from tuner.space import Space
from tuner.spec import StudySpec
from tuner.store.journal import Journal, MemoryJournal
from tuner.training.checkpoint_ref import CheckpointRef
from tuner.training.dataspec import DataSpec

_ENDLESS = 1_000_000  # trials: the simulator's budget ends a search


class AtOnce(Executor):
    """Runs what is submitted before it is asked for anything else: a thread that is always fast enough."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(call(*args, **kwargs))
        return future


class TunerEngine:
    """`tuner.search.new_search`, driven by Tune's public methods alone.

    executor: that of `new_search`; without one a suggestion knows everything. journal: None is one in memory.
    """

    def __init__(self, spec: StudySpec, executor: Executor | None = None, journal: Journal | None = None) -> None:
        self._searcher, self._scheduler = new_search(spec, journal or MemoryJournal(), executor=executor)
        self._pauses = spec.asha == "promote"

    def suggest(self, attempt_id: str) -> Attempt:
        suggestion = self._searcher.suggest(attempt_id)
        return Attempt(suggestion["number"], suggestion["params"], suggestion["start_epoch"])

    def report(self, attempt_id: str, epoch: int, score: float, seconds: float) -> Literal["on", "stop", "pause"]:
        # As at a rung of a real one. Where it is written to is of no interest: nothing is ever read.
        saved = CheckpointRef("/nowhere", "", epoch, score)
        report = Report(epoch=epoch, score=score, seconds=seconds, checkpoint=saved if self._pauses else None)
        trial = SimpleNamespace(trial_id=attempt_id, error_file=None)
        if self._scheduler.on_trial_result(None, trial, {"report": report}) == TrialScheduler.CONTINUE:
            return "on"
        return "pause" if self._pauses else "stop"

    def ended(self, attempt_id: str) -> None:
        self._searcher.on_trial_complete(attempt_id, result={})


def new_spec(
    space: Space, *, sampler: str, max_epochs: int, grace_period: int, reduction_factor: int, seed: int, asha: str
) -> StudySpec:
    """A spec for the simulator; its data set is never opened."""
    return StudySpec(
        name="simulated",
        data=DataSpec("digits", "/nowhere"),
        data_fingerprint="",
        space=space,
        trials=_ENDLESS,
        max_epochs=max_epochs,
        grace_period=grace_period,
        reduction_factor=reduction_factor,
        seed=seed,
        sampler=sampler,
        asha=asha,
    )


class StockEngine:
    """Ray Tune's OptunaSearch and ASHAScheduler with their defaults, as its tutorials combine them."""

    def __init__(self, distributions: dict[str, BaseDistribution], *, max_epochs: int, seed: int) -> None:
        self._searcher = OptunaSearch(distributions, metric="score", mode="max", seed=seed)
        self._scheduler = AsyncHyperBandScheduler(metric="score", mode="max", max_t=max_epochs)
        self._last: dict[str, dict[str, Any]] = {}
        self._begun = itertools.count()

    def suggest(self, trial_id: str) -> Attempt:
        suggestion = self._searcher.suggest(trial_id)
        # It draws among its one bracket from NumPy's global generator.
        np.random.seed(0)
        self._scheduler.on_trial_add(None, _trial(trial_id))
        return Attempt(next(self._begun), dict(suggestion))

    def report(self, trial_id: str, epoch: int, score: float, seconds: float) -> Literal["on", "stop", "pause"]:
        result = {"score": score, "training_iteration": epoch, "time_total_s": seconds * epoch, "trial_id": trial_id}
        self._last[trial_id] = result
        decision = self._scheduler.on_trial_result(None, _trial(trial_id), result)
        # Tune tells its searcher of a report only if the trial goes on (2.60, `_process_trial_result`).
        if decision == TrialScheduler.CONTINUE:
            self._searcher.on_trial_result(trial_id, result)
            return "on"
        return "stop"

    def ended(self, trial_id: str) -> None:
        result = self._last.pop(trial_id)
        self._scheduler.on_trial_complete(None, _trial(trial_id), result)
        self._searcher.on_trial_complete(trial_id, result=result)


def _trial(trial_id: str) -> SimpleNamespace:
    return SimpleNamespace(trial_id=trial_id)
