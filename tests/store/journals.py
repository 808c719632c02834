"""Journals in Redis as a driver writes them, and connections that do as a test says."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
import redis
from optuna.storages import JournalStorage
from optuna.trial import TrialState, create_trial

from tuner.store import lease
from tuner.store.journal import Journal, RedisJournal
from tuner.store.keys import StudyKeys

KEYS = StudyKeys("s")
DISTRIBUTIONS = {
    "lr": optuna.distributions.FloatDistribution(1e-3, 0.3, log=True),
    "width": optuna.distributions.IntDistribution(16, 64, step=16),
    "norm": optuna.distributions.CategoricalDistribution(["none", "batch"]),
}


def driver(client: redis.Redis, **times: Any) -> RedisJournal:
    return RedisJournal(client, "s", lease.acquire(client, "s").fence, **times)


def entries(first: int, last: int) -> list[dict[str, Any]]:
    return [{"n": number} for number in range(first, last)]


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class Unreliable:
    """Stands before the append script: raises the given errors, before or after the call that they belong to."""

    def __init__(self, journal_: RedisJournal, *, before: list[Exception] = [], after: list[Exception] = []) -> None:  # noqa: B006
        self.script, self.before, self.after, self.calls = journal_._script, list(before), list(after), 0
        journal_._script = self  # type: ignore[assignment]

    def __call__(self, *args: Any) -> Any:
        self.calls += 1
        if self.before:
            raise self.before.pop(0)
        answer = self.script(*args)
        if self.after:
            raise self.after.pop(0)
        return answer


def stored(client: redis.Redis) -> list[str]:
    return [str(text) for text in client.lrange(KEYS.journal, 0, -1)]


def count_fetched(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many entries each LRANGE answers from now on."""
    fetched: list[int] = []
    lrange = client.lrange

    def counted(*args: Any) -> Any:
        page = lrange(*args)
        fetched.append(len(page))
        return page

    monkeypatch.setattr(client, "lrange", counted)
    return fetched


def whole_study(written: Journal) -> optuna.Study:
    """A study as the driver makes them: complete, pruned, failed and running trials, each created whole."""
    study = optuna.create_study(study_name="s", storage=JournalStorage(written), direction="maximize")
    study.set_user_attr("max_epochs", 27)
    ends = [(TrialState.COMPLETE, [0.75]), (TrialState.PRUNED, [0.25]), (TrialState.FAIL, None), None]
    for number, final in enumerate(ends):
        params = {"lr": 0.01 * (number + 1), "width": 32, "norm": "batch"}
        with written.transition():
            study.add_trial(create_trial(state=TrialState.RUNNING, params=params, distributions=DISTRIBUTIONS))
        trial_id = study.trials[-1]._trial_id
        for epoch in (1, 3, 10):
            with written.transition():
                study._storage.set_trial_intermediate_value(trial_id, epoch, epoch / 16)
                study._storage.set_trial_user_attr(trial_id, "worker", "ann's")
        if final is not None:
            with written.transition():
                study._storage.set_trial_user_attr(trial_id, "reason", {"rung": 3, "cutoff": 0.5})
                study._storage.set_trial_state_values(trial_id, *final)
    return study
