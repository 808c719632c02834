"""Ray Tune as the executor and nothing else: it takes no snapshots, retries nothing and logs nothing."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.error import TuneError

from tuner.search import actors
from tuner.search.forgetting import Forgetting
from tuner.search.loggers import new_loggers
from tuner.search.trainables import looked_up_once
from tuner.slots import Slots

if TYPE_CHECKING:
    from tuner.search.scheduler import StudyScheduler
    from tuner.search.searcher import StudySearcher
    from tuner.search.stopping import Stop
    from tuner.store.lease import Lease

# Tune reads its settings from the environment only.
_TUNE_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a CSV, a JSON and a TensorBoard file per trial
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",
    "RAY_AIR_NEW_OUTPUT": "0",
    # The searcher says how many trials may wait or run; by its own measure Tune would keep one waiting, and slots idle.
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "30",  # a process that does not end when asked to would keep its slot for 10 min
}


def execute(
    searcher: StudySearcher,
    scheduler: StudyScheduler,
    slots: Slots,
    *,
    trainable: type[tune.Trainable],
    arguments: Mapping[str, Any],
    stop: Stop,
    lease: Lease,
    time_budget_s: float | None,
) -> None:
    """Run the search until nothing is left to do or it is stopped. `arguments` go to the trainable's `setup`.

    Raises the first TunerError of the searcher or scheduler, else why the lease was lost if it was.
    """
    os.environ.update(_TUNE_ENVIRONMENT)
    actors.install()
    if searcher.record.exhausted:
        return
    worker = tune.with_parameters(trainable, **arguments)
    with tempfile.TemporaryDirectory(prefix="tuner-") as throw_away:
        tuner = tune.Tuner(
            tune.with_resources(worker, lambda config: _resources(slots, config["part"])),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=searcher.record.spec.name,
                storage_path=throw_away,
                stop=_Stopper(stop, lease, time_budget_s),
                verbose=0,
                progress_reporter=_Silent(),
                callbacks=[*new_loggers(searcher.record.spec), Forgetting()],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False, checkpoint_frequency=0),
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )
        try:
            with looked_up_once():
                tuner.fit()
        except TuneError:
            if searcher.record.error is None:
                raise
    if searcher.record.error is not None:
        raise searcher.record.error
    lease.raise_if_lost()


def _resources(slots: Slots, part: float) -> tune.PlacementGroupFactory:
    """What a process reserves. Tune hands a trial to a warm one only if that has reserved the same."""
    gpus = {"GPU": slots.gpus * part} if slots.gpus else {}
    return tune.PlacementGroupFactory([{"CPU": slots.cpus, **gpus}])


class _Silent(tune.ProgressReporter):  # type: ignore[misc]
    """In a notebook Tune's own reporter, `verbose=0` or not, wipes what the cell has shown so far (2.60)."""

    def should_report(self, _trials: list[Any], done: bool = False) -> bool:  # noqa: ARG002 - Tune names it
        return False


class _Stopper(tune.Stopper):  # type: ignore[misc]
    """Asked by Tune after every event: the place to look at clocks."""

    def __init__(self, stop: Stop, lease: Lease, time_budget_s: float | None) -> None:
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
