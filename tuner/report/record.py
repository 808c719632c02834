"""The record of a study in all the detail that a report needs: every epoch with its worker and its time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tuner.direction import Direction
from tuner.study import Study, TrialRecord, fold_study
from tuner.training.objectives import known_scores

if TYPE_CHECKING:
    import redis
    from optuna.storages.journal import BaseJournalBackend
    from optuna.trial import FrozenTrial

    from tuner.spec import StudySpec


@dataclass(frozen=True)
class Epoch:
    """One trained epoch. worker: `host:pid (device)`; seconds: training and validation; ended_s: since 1970, by the
    driver's clock, None if the record does not tell; scores: all objectives by name, in older records not all."""

    epoch: int
    score: float
    train_loss: float | None
    val_loss: float | None
    seconds: float
    worker: str
    attempt: int
    ended_s: float | None
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialDetail:
    """One trial. created_s, ended_s: since 1970; ended_s is None while it has not ended. restarts: a line for each time
    that an attempt went back; losses: attempts that ended because the worker was lost."""

    record: TrialRecord
    epochs: tuple[Epoch, ...]
    created_s: float | None = None
    ended_s: float | None = None
    restarts: tuple[str, ...] = ()
    losses: int = 0

    def best(self, direction: Direction) -> Epoch | None:
        """The epoch with the best score, None if it reported none. Of equal ones the one whose weights are kept, else
        the first."""
        if not self.epochs:
            return None
        choose = max if direction == "maximize" else min
        best = choose(self.epochs, key=lambda epoch: epoch.score)
        kept = (self.record.best_checkpoint or {}).get("epoch")
        return next((one for one in self.epochs if one.epoch == kept and one.score == best.score), best)


@dataclass(frozen=True)
class StudyDetail:
    """A study with its details. exact_times: whether the record has the time of each epoch; in older ones they are
    estimated."""

    study: Study
    trials: tuple[TrialDetail, ...]
    exact_times: bool = True

    @property
    def spec(self) -> StudySpec:
        """Of the study."""
        return self.study.spec

    @property
    def start_s(self) -> float | None:
        """When the first epoch began, since 1970; None if there is none."""
        return min((first_start_s(trial) for trial in self.trials if _is_timed(trial)), default=None)

    def searched(self) -> StudyDetail:
        """Without the trials that confirm others; what is asked of `study` leaves those out by itself."""
        return replace(self, trials=tuple(trial for trial in self.trials if trial.record.confirms is None))

    def timed_epochs(self) -> list[tuple[TrialDetail, Epoch, float]]:
        """(trial, epoch, when it ended) of all epochs with a time, in the order in which they ended."""
        rows = [(trial, e, e.ended_s) for trial in self.trials for e in trial.epochs if e.ended_s is not None]
        return sorted(rows, key=lambda row: row[2])


def first_start_s(trial: TrialDetail) -> float:
    """When the first epoch of a trial began, since 1970; the trial has a timed one."""
    return min(epoch.ended_s - epoch.seconds for epoch in trial.epochs if epoch.ended_s is not None)


def load_detail(client: redis.Redis, name: str | None) -> StudyDetail:
    """The study `name`, or the newest one. Raises StudyNotFound, StoreError."""
    from tuner.spec import StudySpec
    from tuner.store import catalog, lease
    from tuner.store.journal import RedisJournal

    name = catalog.newest(client) if name is None else name
    spec = StudySpec.from_json(catalog.read_spec(client, name))
    holder = lease.holder(client, name)
    return read_detail(spec, RedisJournal(client, name), None if holder is None else holder.describe())


def read_detail(spec: StudySpec, journal: BaseJournalBackend, driver: dict[str, Any] | None) -> StudyDetail:
    """Fold the journal, as `tuner.study.read_study` does, keeping the details. Raises StoreError likewise."""
    from tuner.collection import no_collection
    from tuner.store.journal import replaying
    from tuner.store.merged import replay

    with replaying(spec.name), no_collection():
        trials, attributes = replay(spec.name, journal)
        study = fold_study(spec, trials, attributes, driver)
        details = tuple(_detail(spec, record, trial) for record, trial in zip(study.trials, trials, strict=True))
        return StudyDetail(study, details, exact_times=_has_times(trials))


def _has_times(trials: Iterable[FrozenTrial]) -> bool:
    return all(
        "recorded_s" in details
        for trial in trials
        for key, details in trial.user_attrs.items()
        if key.startswith("report:")
    )


def _is_timed(trial: TrialDetail) -> bool:
    return any(epoch.ended_s is not None for epoch in trial.epochs)


def _detail(spec: StudySpec, record: TrialRecord, trial: FrozenTrial) -> TrialDetail:
    created_s = trial.datetime_start.timestamp() if trial.datetime_start else None
    ended_s = trial.datetime_complete.timestamp() if trial.datetime_complete else None
    reports = [trial.user_attrs.get(f"report:{epoch}", {}) for epoch, _ in record.values]
    times = [report.get("recorded_s") for report in reports]
    if None in times:
        times = _estimated([float(report.get("seconds", 0.0)) for report in reports], created_s, ended_s)
    epochs = tuple(
        Epoch(
            epoch,
            score,
            report.get("train_loss"),
            report.get("val_loss"),
            float(report.get("seconds", 0.0)),
            report.get("worker") or "unknown worker",
            report.get("attempt", 1),
            time_s,
            known_scores({**report, spec.metric: score}),
        )
        for (epoch, score), report, time_s in zip(record.values, reports, times, strict=True)
    )
    restarts = tuple(trial.user_attrs.get("restarts", ()))
    return TrialDetail(record, epochs, created_s, ended_s, restarts, trial.user_attrs.get("losses", 0))


def _estimated(seconds: list[float], created_s: float | None, ended_s: float | None) -> list[float | None]:
    """When the epochs of a trial ended whose record has only its own start and end: one after the other without a
    pause, up to its end, or from its start if it has none."""
    begin_s = ended_s - sum(seconds) if ended_s is not None else created_s
    if begin_s is None:
        return [None] * len(seconds)
    return [begin_s + sum(seconds[: index + 1]) for index in range(len(seconds))]
