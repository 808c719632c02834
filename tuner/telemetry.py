"""Metrics of a search for Prometheus, through Ray: each node's agent exports what the processes on that node record.

Ray puts `ray_` before each name and adds labels of its own (NodeAddress, WorkerId, SessionName ...). It exports every
10 s, so that a process that dies takes what it recorded since then with it. Of a histogram only the counts are exact:
Ray exports each value as the middle of its bucket, so `_sum` is of no use.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter as Tally
from collections.abc import Iterable

from ray.util.metrics import Counter, Gauge, Histogram

from tuner.spec import StudySpec
from tuner.study import STATES, TrialRecord

_log = logging.getLogger(__name__)

# Ray 2.60 exports a gauge in the interval in which it is set, and its agent drops it two intervals (20 s) later.
_REPEAT_S = 5.0

# Upper bounds in seconds. Epochs: from a toy on a GPU to a large data set on CPUs. Appends: a socket to a full outage.
EPOCH_BOUNDS_S = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1280.0]
APPEND_BOUNDS_S = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0]


class _LastingGauges:
    """Sets gauges again and again, in a thread of its own from the first on, until `close`; then they go away."""

    def __init__(self) -> None:
        self._values: dict[tuple[Gauge, tuple[tuple[str, str], ...]], float] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def set(self, gauge: Gauge, value: float, tags: dict[str, str]) -> None:
        gauge.set(value, tags)
        with self._lock:
            self._values[gauge, tuple(tags.items())] = value
        if self._thread is None:
            self._thread = threading.Thread(target=self._repeat, name="tuner-metrics", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._closed.set()
        if self._thread is not None:
            self._thread.join()  # before Ray ends below it

    def _repeat(self) -> None:
        while not self._closed.wait(_REPEAT_S):
            with self._lock:
                values = dict(self._values)
            for (gauge, tags), value in values.items():
                gauge.set(value, dict(tags))


class SearchMetrics:
    """What the driver knows of its study. Not safe from several threads; `close` ends it.

    Trials, stops and the best score are gauges that count the whole record, so that they go on where they were after
    `tuner resume`. trials: what the journal already holds.
    """

    def __init__(self, spec: StudySpec, trials: Iterable[TrialRecord]) -> None:
        self._study = {"study": spec.name}
        self._better = max if spec.direction == "maximize" else min
        self._states: dict[int, str] = {}
        self._counts: Tally[str] = Tally()
        self._stops: Tally[int] = Tally()
        self._scores: dict[int, float] = {}
        self._gauges = _LastingGauges()
        study = ("study",)
        self._trials = Gauge("tuner_trials", "Trials of the study in each state.", ("study", "state"))
        self._asha_stops = Gauge("tuner_asha_stops", "Trials that ASHA stopped at each rung.", ("study", "rung"))
        self._best_score = Gauge("tuner_best_score", "Best score whose weights are kept.", study)
        self._append_seconds = Histogram(
            "tuner_redis_append_seconds", "Time of one append to the journal in Redis.", APPEND_BOUNDS_S, study
        )
        self._hook_errors = Counter(
            "tuner_hook_errors", "Errors in the display, the metrics or the clearing of checkpoints.", study
        )
        for state in STATES:
            self._set(self._trials, 0, state=state)
        for rung in spec.rungs():
            self._set(self._asha_stops, 0, rung=str(rung))
        for trial in trials:
            self.trial_changed(trial)

    def trial_changed(self, trial: TrialRecord) -> None:
        """Take in a trial's newest record, if it is one of the search and confirms no other."""
        if trial.confirms is not None:
            return
        before = self._states.get(trial.number)
        if trial.state != before:
            self._states[trial.number] = trial.state
            self._counts[trial.state] += 1
            if before is not None:
                self._counts[before] -= 1
                self._set(self._trials, self._counts[before], state=before)
            self._set(self._trials, self._counts[trial.state], state=trial.state)
            # A finished trial is final: it comes here once.
            if trial.state == "pruned" and trial.reason is not None:
                rung = trial.reason["rung"]
                self._stops[rung] += 1
                self._set(self._asha_stops, self._stops[rung], rung=str(rung))
        score = trial.best_checkpoint["score"] if trial.best_checkpoint else None
        if score != self._scores.get(trial.number):
            if score is None:
                del self._scores[trial.number]  # the weights of a trial that was stopped are deleted
            else:
                self._scores[trial.number] = score
            if self._scores:
                self._set(self._best_score, self._better(self._scores.values()))

    def appended(self, seconds: float) -> None:
        """One append to the journal was answered after `seconds`."""
        self._append_seconds.observe(seconds, self._study)

    def hook_failed(self) -> None:
        """What follows a change, but decides nothing, raised."""
        self._hook_errors.inc(1, self._study)

    def close(self) -> None:
        """The search is over."""
        self._gauges.close()

    def _set(self, gauge: Gauge, value: float, **tags: str) -> None:
        self._gauges.set(gauge, value, {**self._study, **tags})


class WorkerMetrics:
    """What a worker knows of its own time and memory, told once an epoch. An error here is logged and fails no trial;
    `close` ends it.

    slot: number of the worker among those of the study, from 0.
    """

    def __init__(self, study: str, slot: int) -> None:
        self._tags = {"study": study, "slot": str(slot)}
        self._told = False
        self._gauges = _LastingGauges()
        keys = ("study", "slot")
        self._epochs = Counter("tuner_epochs", "Epochs trained and validated.", keys)
        self._images = Counter("tuner_images", "Pictures trained on, augmented ones of one picture each counted.", keys)
        self._epoch_seconds = Histogram(
            "tuner_epoch_seconds", "Time of one epoch with validation.", EPOCH_BOUNDS_S, keys
        )
        self._gpu_memory = Gauge(
            "tuner_gpu_memory_bytes", "Most GPU memory that torch held during the last epoch.", keys
        )
        self._idle_seconds = Counter(
            "tuner_worker_idle_seconds",
            "Time in which the worker waited for its driver, between epochs or trials.",
            keys,
        )

    def epoch(self, *, images: int, seconds: float, gpu_memory_bytes: int | None) -> None:
        """An epoch over `images` pictures ended; None for `gpu_memory_bytes` without a GPU."""
        try:
            self._epochs.inc(1, self._tags)
            self._images.inc(images, self._tags)
            self._epoch_seconds.observe(seconds, self._tags)
            if gpu_memory_bytes is not None:
                self._gauges.set(self._gpu_memory, gpu_memory_bytes, self._tags)
        except Exception:
            self._tell()

    def waited(self, seconds: float) -> None:
        """The worker had nothing to do for `seconds`."""
        try:
            if seconds > 0:  # Ray's counters take nothing else
                self._idle_seconds.inc(seconds, self._tags)
        except Exception:
            self._tell()

    def close(self) -> None:
        """The worker takes no more trials."""
        self._gauges.close()

    def _tell(self) -> None:
        if not self._told:
            _log.exception("this worker's metrics cannot be recorded; it goes on without them")
            self._told = True
