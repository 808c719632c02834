"""One life of a search: take the lease, rebuild the record, let Ray Tune run it, leave it so that it can go on.

Tune is the executor and nothing else: it takes no snapshots, retries nothing and logs nothing; a search is rebuilt from
the journal alone.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

import optuna
from ray import tune

from tuner.errors import LeaseLost, TunerError
from tuner.search import new_search
from tuner.spec import StudySpec
from tuner.store import lease as leases
from tuner.store.journal import RedisJournal
from tuner.study import Study, TrialRecord
from tuner.submit import Slots
from tuner.worker import Worker, trial_folder

if TYPE_CHECKING:
    import redis

    from tuner.search.record import StudyRecord

STOP_GRACE_S = 30.0  # what runs may still report for so long after a stop was asked for

# Tune reads its settings from the environment only.
_TUNE_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a CSV, a JSON and a TensorBoard file per trial
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",
    "RAY_AIR_NEW_OUTPUT": "0",
}

_log = logging.getLogger(__name__)


class Progress(Protocol):
    """What shows a search while it runs. An error in it never ends the search."""

    def trial_changed(self, trial: TrialRecord) -> None:
        """A trial was started, reported, or ended."""

    def stopping(self, why: str) -> None:
        """Nothing more is launched; what runs is being stopped."""


class Stop:
    """Why and since when a search is being stopped; asked for by signals, clients, the time budget or a lost lease."""

    def __init__(self, record: StudyRecord, progress: Progress) -> None:
        self.why = ""
        self.signal: int | None = None
        self._record = record
        self._progress = progress
        self._deadline_s = float("inf")

    def request(self, why: str, *, grace_s: float = STOP_GRACE_S) -> None:
        """Launch nothing more, and end what still runs after `grace_s` seconds. The first reason stands."""
        self._deadline_s = min(self._deadline_s, time.monotonic() + grace_s)
        if not self.why:
            self.why = why
            self._record.stop()
            self._progress.stopping(why)

    def overdue(self) -> bool:
        """Whether the time is over in which what runs could still report."""
        return time.monotonic() >= self._deadline_s


def run(
    spec: StudySpec,
    client: redis.Redis,
    slots: Slots,
    *,
    cache: Path,
    progress: Progress,
    wait_s: float = 0.0,
    trials: int | None = None,
    time_budget_s: float | None = None,
    trainable: type[Any] | None = None,
) -> tuple[Study, Stop]:
    """Run the study until all trials are finished or it is stopped; everything is in the journal then.

    Ray must be connected. `trials` changes the total wanted; `trainable` replaces the worker (its `setup` gets the
    same keyword arguments). Raises LeaseHeld if another driver runs the study, LeaseLost if this one was taken over,
    StoreError if Redis stays away, TunerError if every trial fails by the same error.
    """
    if not _log.isEnabledFor(logging.INFO):
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # it configures its own logger when it is imported
    lease = leases.acquire(client, spec.name, wait_s=wait_s)
    try:
        shield = _Shield(progress)
        searcher, scheduler = new_search(spec, RedisJournal(client, spec.name, lease.fence), shield.trial_changed)
        record = searcher.record
        shield.discard = _Discard(spec)
        for trial in record.records():
            shield.discard(trial)
        if trials is not None:
            record.want_trials(trials)
        stop = Stop(record, shield)
        lease.start_renewing(lambda asked: stop.request("asked by `tuner stop`", grace_s=_grace_s(asked)))
        with _signals(stop):
            _fit(spec, slots, searcher, scheduler, stop, lease, cache, time_budget_s or spec.time_budget_s, trainable)
        if lease.lost.is_set():
            raise LeaseLost(
                f"study {spec.name!r} was taken over by another driver, or Redis stayed away: this one ended"
            )
        if record.fatal_error is not None:
            raise TunerError(f"the first trials all failed, so the search stopped: {record.fatal_error}")
        return Study(spec, tuple(record.records()), record.trials_wanted, None), stop
    finally:
        lease.release()


def _grace_s(asked: str) -> float:
    return 0.0 if asked == leases.STOP_NOW else STOP_GRACE_S


def _fit(
    spec: StudySpec,
    slots: Slots,
    searcher: Any,
    scheduler: Any,
    stop: Stop,
    lease: leases.Lease,
    cache: Path,
    time_budget_s: float | None,
    trainable: type[Any] | None,
) -> None:
    os.environ.update(_TUNE_ENVIRONMENT)
    if searcher.record.exhausted:
        return
    worker = tune.with_parameters(
        trainable or Worker, spec_json=spec.to_json(), cache=str(cache), threads=slots.threads, gpu=slots.gpus > 0
    )
    bundle = {"CPU": slots.cpus, **({"GPU": slots.gpus} if slots.gpus else {})}
    with tempfile.TemporaryDirectory(prefix="tuner-") as throw_away:
        tune.Tuner(
            tune.with_resources(worker, tune.PlacementGroupFactory([bundle])),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,
                # Without it Tune keeps one trial pending, and a slot idle.
                max_concurrent_trials=slots.count,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=spec.name,
                storage_path=throw_away,
                stop=_Stopper(stop, lease, time_budget_s),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False, checkpoint_frequency=0),
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        ).fit()


class _Stopper(tune.Stopper):  # type: ignore[misc]
    """Asked by Tune after every event: the place to look at clocks."""

    def __init__(self, stop: Stop, lease: leases.Lease, time_budget_s: float | None) -> None:
        self._stop = stop
        self._lease = lease
        self._end_s = time.monotonic() + time_budget_s if time_budget_s is not None else float("inf")

    def __call__(self, _trial_id: str, _result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        if self._lease.lost.is_set():
            self._stop.request("the lease was lost", grace_s=0.0)
        elif time.monotonic() >= self._end_s:
            self._stop.request("the time budget is used up")
        return self._stop.overdue()

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its configuration; threads and connections stay in this process.
        return {}


class _Discard:
    """Deletes the checkpoints of trials that ended pruned or failed."""

    def __init__(self, spec: StudySpec) -> None:
        self._spec = spec

    def __call__(self, trial: TrialRecord) -> None:
        if trial.state in ("pruned", "failed"):
            shutil.rmtree(trial_folder(self._spec.storage, self._spec.name, trial.number), ignore_errors=True)


class _Shield:
    """Stands between the search and its hooks: an exception in one is logged once and never ends the search."""

    def __init__(self, progress: Progress) -> None:
        self.discard: Callable[[TrialRecord], None] | None = None
        self._progress = progress
        self._told = False

    def trial_changed(self, trial: TrialRecord) -> None:
        if self.discard is not None:
            self.discard(trial)
        self._call(self._progress.trial_changed, trial)

    def stopping(self, why: str) -> None:
        self._call(self._progress.stopping, why)

    def _call(self, hook: Callable[[Any], None], argument: Any) -> None:
        try:
            hook(argument)
        except Exception:
            if not self._told:
                _log.exception("the progress display failed; the search goes on")
                self._told = True


@contextmanager
def _signals(stop: Stop) -> Iterator[None]:
    """Ctrl-C and SIGTERM stop the search; a second one ends the process's patience at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.signal is not None:
            raise KeyboardInterrupt
        stop.signal = number
        stop.request("interrupted")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
