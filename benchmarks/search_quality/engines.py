"""Search methods for the simulator: this project's searcher and scheduler, and Ray Tune's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from tuner.exchange import Report
from tuner.search import new_search
from tuner.space import Space
from tuner.spec import StudySpec
from tuner.store.journal import MemoryJournal
from tuner.training.dataspec import DataSpec

_ENDLESS = 1_000_000  # trials: the simulator's budget ends a search


class TunerEngine:
    """`tuner.search.new_search` over a journal in memory, driven by Tune's public methods alone."""

    def __init__(self, spec: StudySpec) -> None:
        self._searcher, self._scheduler = new_search(spec, MemoryJournal())

    def suggest(self, trial_id: str) -> dict[str, Any]:
        return dict(self._searcher.suggest(trial_id)["params"])

    def report(self, trial_id: str, epoch: int, score: float, seconds: float) -> bool:
        report = Report(epoch=epoch, score=score, seconds=seconds)
        trial = SimpleNamespace(trial_id=trial_id, error_file=None)
        return bool(self._scheduler.on_trial_result(None, trial, {"report": report}) == TrialScheduler.CONTINUE)

    def ended(self, trial_id: str) -> None:
        self._searcher.on_trial_complete(trial_id, result={})


def new_spec(
    space: Space, *, sampler: str, max_epochs: int, grace_period: int, reduction_factor: int, seed: int
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
    )


class StockEngine:
    """Ray Tune's OptunaSearch and ASHAScheduler with their defaults, as its tutorials combine them."""

    def __init__(self, distributions: dict[str, BaseDistribution], *, max_epochs: int, seed: int) -> None:
        self._searcher = OptunaSearch(distributions, metric="score", mode="max", seed=seed)
        self._scheduler = AsyncHyperBandScheduler(metric="score", mode="max", max_t=max_epochs)
        self._last: dict[str, dict[str, Any]] = {}

    def suggest(self, trial_id: str) -> dict[str, Any]:
        suggestion = self._searcher.suggest(trial_id)
        # It draws among its one bracket from NumPy's global generator.
        np.random.seed(0)
        self._scheduler.on_trial_add(None, _trial(trial_id))
        return dict(suggestion)

    def report(self, trial_id: str, epoch: int, score: float, seconds: float) -> bool:
        result = {"score": score, "training_iteration": epoch, "time_total_s": seconds * epoch, "trial_id": trial_id}
        self._last[trial_id] = result
        decision = self._scheduler.on_trial_result(None, _trial(trial_id), result)
        # Tune tells its searcher of a report only if the trial goes on (2.60, `_process_trial_result`).
        if decision == TrialScheduler.CONTINUE:
            self._searcher.on_trial_result(trial_id, result)
        return bool(decision == TrialScheduler.CONTINUE)

    def ended(self, trial_id: str) -> None:
        result = self._last.pop(trial_id)
        self._scheduler.on_trial_complete(None, _trial(trial_id), result)
        self._searcher.on_trial_complete(trial_id, result=result)


def _trial(trial_id: str) -> SimpleNamespace:
    return SimpleNamespace(trial_id=trial_id)
