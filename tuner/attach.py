"""Watching a study from anywhere that reaches Redis: its journal as it grows, shown as its own driver would show it."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console

from tuner.budget import newest_budget
from tuner.errors import StoreUnavailable
from tuner.progress import progress_for
from tuner.spec import StudySpec
from tuner.store import catalog, lease
from tuner.store.journal import RedisJournal, replaying
from tuner.store.patience import OUTAGE_S
from tuner.study import LIFE, MAX_EPOCHS, TRIALS_WANTED, Study, TrialRecord, fold_trial

if TYPE_CHECKING:
    import redis
    from optuna.storages import JournalStorage
    from optuna.trial import FrozenTrial

POLL_S = 1.0

_log = logging.getLogger(__name__)


class Follower:
    """The study `spec.name`, read again and again: each time only what is new in its journal is fetched and folded."""

    def __init__(self, client: redis.Redis, spec: StudySpec) -> None:
        self._client = client
        self._spec = spec
        self._journal = RedisJournal(client, spec.name)
        self._storage: JournalStorage | None = None
        self._seen: dict[int, FrozenTrial] = {}
        self._records: dict[int, TrialRecord] = {}
        self.study = Study(spec, (), spec.trials, None, budget=spec.budget)

    def poll(self) -> list[TrialRecord]:
        """The trials that changed since the last call; `study` is then as it is now. Raises as `read_study` does."""
        # The driver first: if it is gone, what is read after that is all that it has written.
        holder = lease.holder(self._client, self._spec.name)
        driver = None if holder is None else holder.describe()
        with replaying(self._spec.name):
            trials, attributes = self._read()
        changed = []
        life = attributes.get(LIFE) if driver is not None else None
        for trial in trials:
            # Optuna replaces a trial that changed; one in flight changes with its driver's life too.
            if trial is self._seen.get(trial.number) and trial.state.is_finished():
                continue
            self._seen[trial.number] = trial
            record = fold_trial(self._spec, trial, life=life)
            if record != self._records.get(trial.number):
                self._records[trial.number] = record
                changed.append(record)
        self.study = Study(
            self._spec,
            tuple(self._records.values()),
            trials_wanted=attributes.get(TRIALS_WANTED, self._spec.trials),
            driver=driver,
            raised_max_epochs=attributes.get(MAX_EPOCHS),
            budget=newest_budget(self._spec.budget, attributes),
        )
        return changed

    def _read(self) -> tuple[list[FrozenTrial], dict[str, int]]:
        from optuna.storages import JournalStorage

        if self._storage is None:
            self._storage = JournalStorage(self._journal)
        try:
            study_id = self._storage.get_study_id_from_name(self._spec.name)
        except KeyError:
            return [], {}  # its driver has not written anything yet
        trials = self._storage.get_all_trials(study_id, deepcopy=False)
        return trials, self._storage.get_study_user_attrs(study_id)


def watch(client: redis.Redis, name: str, console: Console) -> Study:
    """Show the study on `console` for as long as a driver runs it; the study as that driver left it.

    Redis may be away for as long as a driver bears that. Raises StudyNotFound, StoreUnavailable, StoreError.
    """
    spec = StudySpec.from_json(catalog.read_spec(client, name))
    follower = Follower(client, spec)
    follower.poll()
    if follower.study.driver is None:
        return follower.study
    away_since_s: float | None = None
    spec = replace(spec, budget=follower.study.budget)
    with progress_for(console, spec, follower.study.trials, follower.study.trials_wanted) as progress:
        while follower.study.driver is not None:
            time.sleep(POLL_S)
            try:
                changed = follower.poll()
            except StoreUnavailable as error:
                if away_since_s is None:
                    away_since_s = time.monotonic()
                    _log.warning("%s; waiting for it, %.0f s at most", error, OUTAGE_S)
                if time.monotonic() - away_since_s > OUTAGE_S:
                    raise
                continue
            away_since_s = None
            for trial in changed:
                progress.trial_changed(trial)
    return follower.study
