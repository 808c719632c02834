"""One life of a search: take the lease, rebuild the record from the journal, run it, leave it so that it can go on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import optuna
from ray.tune import Trainable

from tuner import failpoints
from tuner.budget import BUDGET
from tuner.confirmed import Confirmation
from tuner.environment import environment
from tuner.errors import TunerError, first_line
from tuner.nodes import living_nodes
from tuner.retention import discard_checkpoints, study_folder, trace_file
from tuner.search import new_search
from tuner.search.capacity import Capacity
from tuner.search.execution import execute
from tuner.search.onethread import OneThread
from tuner.search.packing import new_packing
from tuner.search.snapshots import Snapshots
from tuner.search.spending import Spending
from tuner.search.stopping import STOP_GRACE_S, Stop, signals_stop
from tuner.search.watch import PROGRESS_TIMEOUT_S
from tuner.slots import Slots
from tuner.spec import StudySpec
from tuner.store import lease as leases
from tuner.store.journal import RedisJournal
from tuner.store.patience import OUTAGE_S
from tuner.study import ENVIRONMENT, Study, TrialRecord, read_study
from tuner.telemetry import SearchMetrics
from tuner.usage import Share
from tuner.worker import Worker

if TYPE_CHECKING:
    import redis

_log = logging.getLogger(__name__)


class Progress(Protocol):
    """What shows a search while it runs. An error in it never ends the search."""

    def trial_changed(self, trial: TrialRecord) -> None:
        """A trial was started, reported, or ended."""

    def stopping(self, why: str) -> None:
        """Nothing more is launched; what runs is being stopped."""


Show = Callable[[list[TrialRecord], int], AbstractContextManager[Progress]]


def run(
    spec: StudySpec,
    client: redis.Redis,
    slots: Slots,
    *,
    cache: Path,
    show: Show,
    wait_s: float = 0.0,
    trials: int | None = None,
    max_epochs: int | None = None,
    time_budget_s: float | None = None,
    progress_timeout_s: float = PROGRESS_TIMEOUT_S,
    outage_s: float = OUTAGE_S,
    revive: Callable[[], object] | None = None,
    trainable: type[Trainable] = Worker,
    profile: bool = False,
    confirm: Confirmation | None = None,
) -> tuple[Study, Stop]:
    """Run the study until all trials are finished or it is stopped; everything is in the journal then.

    Ray must be connected. `show` gets the trials that the journal already holds and the number wanted, and gives the
    display for as long as the search runs. `trials` changes the total wanted; a higher `max_epochs` continues the best
    complete trials; `trainable` replaces the worker (its `setup` gets the same keyword arguments); `profile` has the
    worker trace an epoch. With `confirm` nothing is searched: only the trials run that confirm the best ones, and only
    they are shown. Raises LeaseHeld if another driver runs the study, LeaseLost if this one was taken over,
    StoreUnavailable if Redis stays away for `outage_s` although `revive` is called to start it again, StoreError if it
    lost its data, UsageError for a lower `max_epochs`, TunerError if every trial fails by the same error.
    """
    if not _log.isEnabledFor(logging.INFO):
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # it configures its own logger when it is imported
    hooks = _Hooks(spec)
    with failpoints.durable("lease-taken"):
        lease = leases.acquire(client, spec.name, wait_s=wait_s, outage_s=outage_s)
    until = ExitStack()
    try:
        _make_folder(spec)
        journal = RedisJournal(
            client,
            spec.name,
            lease.fence,
            retry_s=outage_s,
            revive=revive,
            gives_up=lambda: lease.lost.is_set() or (hooks.stop is not None and hooks.stop.overdue()),
            on_append=hooks.appended,
        )
        searcher, scheduler = new_search(
            spec,
            journal,
            hooks.trial_changed,
            progress_timeout_s=progress_timeout_s,
            capacity=Capacity(slots, living_nodes),
            # Who confirms a result asks for just that, beyond what the search may spend.
            spending=Spending(spec if confirm is None else replace(spec, budget=""), Share(slots.gpus, slots.cpus)),
            packing=new_packing(spec, slots, cache),
            executor=until.enter_context(OneThread("suggestion")) if confirm is None else None,
        )
        record = searcher.record
        hooks.snapshots = Snapshots(client, record.trials, journal, lease.fence)
        record.remember(ENVIRONMENT, environment())
        ledger = record.spending.ledger
        if ledger is not None:
            record.remember(BUDGET, spec.budget)
        if trials is not None:
            record.new.want(trials)
        if max_epochs is not None:
            record.train_longer(max_epochs)
        record.new.begin()
        confirming = None if confirm is None else record.confirm(confirm)
        known = record.records()
        for trial in known:
            _discard_checkpoints(spec, trial)
        hooks.start_metrics(known)
        stop = hooks.stop = Stop(record, hooks.stopping)
        lease.start_renewing(lambda asked: stop.request("asked by `tuner stop`", grace_s=_grace_s(asked)), revive)
        arguments = {
            "spec_json": replace(spec, evidence=()).to_json(),  # which is of no use to a worker
            "cache": str(cache),
            "threads": slots.threads,
            "gpu": slots.gpus > 0,
            **({"trace": str(trace_file(spec.storage, spec.name))} if profile else {}),
        }
        leave = until.enter_context(signals_stop(stop))
        shown = known if confirming is None else [one for one in known if one.number in confirming]
        with show(shown, record.new.wanted if confirm is None else 0) as hooks.progress, leave():
            execute(
                searcher,
                scheduler,
                slots,
                trainable=trainable,
                arguments=arguments,
                stop=stop,
                lease=lease,
                time_budget_s=time_budget_s or spec.time_budget_s,
            )
            with suppress(TunerError):  # it makes the account exact, and is no reason to wait for a Redis that is away
                record.end_unbegun()
        if ledger is not None and record.out_of_budget:
            stop.why = ledger.used_up
        if record.brake.fatal_error is not None:
            raise TunerError(f"the first trials all failed, so the search stopped: {record.brake.fatal_error}")
        if record.brake.out_of_room:
            raise TunerError(
                f"{record.brake.save_error}; the search stopped, no trial is lost: make room there, then go on with: "
                + (f"tuner resume {spec.name}" if confirm is None else confirm.command(spec.name))
            )
        hooks.snapshots.close()
        # Read anew: after an interruption in the middle of a commit only the store knows whether it happened.
        if stop.signal is None:
            journal.settle()
            retry_s = outage_s
        else:
            retry_s = 0.0  # who pressed Ctrl-C does not wait
        return read_study(spec, RedisJournal(client, spec.name, retry_s=retry_s, revive=revive), None), stop
    finally:
        with until:
            hooks.close()
            with failpoints.durable("lease-released"):
                lease.release()


def _make_folder(spec: StudySpec) -> None:
    folder = study_folder(spec.storage, spec.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"checkpoints cannot be kept in {folder} ({first_line(error)}): give another --storage"
        raise TunerError(why) from None


def _discard_checkpoints(spec: StudySpec, trial: TrialRecord) -> None:
    if trial.is_finished:
        with failpoints.durable("checkpoints-discarded"):
            discard_checkpoints(spec, trial)


def _grace_s(asked: str) -> float:
    return 0.0 if asked == leases.STOP_NOW else STOP_GRACE_S


class _Hooks:
    """What follows a change but decides nothing. An exception in it is counted, logged once, and ends no search."""

    def __init__(self, spec: StudySpec) -> None:
        self.progress: Progress | None = None
        self.stop: Stop | None = None
        self.snapshots: Snapshots | None = None
        self._spec = spec
        self._metrics: SearchMetrics | None = None
        self._told = False

    def start_metrics(self, known: list[TrialRecord]) -> None:
        self._call(self._start_metrics, known)

    def _start_metrics(self, known: list[TrialRecord]) -> None:
        self._metrics = SearchMetrics(self._spec, known)

    def close(self) -> None:
        if self.snapshots is not None:
            self.snapshots.end()
        if self._metrics is not None:
            self._call(self._metrics.close)

    def appended(self, seconds: float) -> None:
        if self._metrics is not None:
            self._call(self._metrics.appended, seconds)

    def trial_changed(self, trial: TrialRecord) -> None:
        if trial.state != "running" or not trial.values:
            # If somebody deleted it, it is there again before the next worker looks for it.
            self._call(_make_folder, self._spec)
        self._call(_discard_checkpoints, self._spec, trial)
        if self._metrics is not None:
            self._call(self._metrics.trial_changed, trial)
        if self.progress is not None:
            self._call(self.progress.trial_changed, trial)
        if self.snapshots is not None:
            self._call(self.snapshots.changed)

    def stopping(self, why: str) -> None:
        if self.progress is not None:
            self._call(self.progress.stopping, why)

    def _call(self, hook: Callable[..., None], *arguments: object) -> None:
        try:
            hook(*arguments)
        except Exception:
            if not self._told:
                _log.exception("the display, the metrics or the clearing of checkpoints failed; the search goes on")
                self._told = True
            if self._metrics is not None:
                with suppress(Exception):  # it may be the metrics that fail
                    self._metrics.hook_failed()
