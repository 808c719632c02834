"""One search whose trials train nothing, by our driver or by bare Tune: run by `control_plane.py`, prints JSON.

python benchmarks/speed/control_plane_side.py '{"side": "ours", "sampler": "tpe", "trials": 200, ...}'
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from optuna.samplers import RandomSampler, TPESampler
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from scale_driver import sleeping_spec
from scale_hosted import Sleeper, score
from scale_redis import server

from tuner.search import driver, execution
from tuner.search import sampler as samplers
from tuner.slots import Slots
from tuner.spec import StudySpec
from tuner.store import catalog, client

WORKERS = 2
GRACE_PERIOD = 2


class Meter:
    """Counts results and ended trials: the display of our driver, and fed by the callback of bare Tune's.

    Looks at the clock and the memory when the `first` trials have ended and when the `last` one has: what either side
    does once all is over, such as reading the study anew, is not the search.
    """

    def __init__(self, first: int, last: int) -> None:
        self._epochs: dict[int, int] = {}
        self.ended = 0
        self.results = 0
        self.began_s = 0.0
        self._marks = {first: (0, 0.0, 0), last: (0, 0.0, 0)}  # trials -> results, seconds, bytes of memory

    def result(self) -> None:
        """A result was taken; the clock starts with the first one, when Ray and its workers are there."""
        self.results += 1
        self.began_s = self.began_s or time.perf_counter()

    def end(self) -> None:
        """A trial ended."""
        self.ended += 1
        if self.ended in self._marks:
            self._marks[self.ended] = (self.results, time.perf_counter(), memory_bytes())

    def stopping(self, why: str) -> None:
        """As our driver's display."""

    def trial_changed(self, trial: Any) -> None:
        """As our driver's display."""
        if len(trial.values) > self._epochs.get(trial.number, 0):
            self._epochs[trial.number] = len(trial.values)
            self.result()
        if trial.is_finished:
            self.end()

    def summary(self) -> dict[str, float]:
        """What was measured, from the first result on."""
        (first, at_first), (last, at_last) = self._marks.items()
        return {
            "first_per_s": at_first[0] / (at_first[1] - self.began_s),
            "results_per_s": at_last[0] / (at_last[1] - self.began_s),
            "kib_a_trial": (at_last[2] - at_first[2]) / (last - first) / 1024,
            "results": at_last[0],
            "trials": last,
        }


def memory_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Nothing(tune.Trainable):  # type: ignore[misc]
    """What a user writes for processes that stay; it scores what our workers score."""

    def setup(self, config: dict[str, Any]) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next trial. It has no number here, so its level is drawn from its parameters."""
        self._level = hash(tuple(new_config[name] for name in sorted(new_config))) % 1_000_000
        self._epoch = 0
        return True

    def step(self) -> dict[str, Any]:
        """One epoch."""
        self._epoch += 1
        return {"score": score(self._level, self._epoch)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing is saved."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing is loaded."""


class Counting(tune.Callback):  # type: ignore[misc]
    """Tells the meter."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **_: Any) -> None:  # noqa: ARG002
        """Tune has taken a result."""
        self._meter.result()

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:  # noqa: ARG002
        """A trial is over, stopped or not."""
        self._meter.end()


def ours(spec: StudySpec, meter: Meter, plan: dict[str, Any]) -> None:
    """Our driver, on the reports that are the longest."""
    with server(Path(plan["folder"]) / "redis", "always") as url:
        store = client.connect(url)
        catalog.create_study(store, spec.name, spec.to_json())
        driver.run(
            spec,
            store,
            Slots(WORKERS, 1, 0.0, 1, most=WORKERS),
            cache=Path("0"),
            show=lambda _trials, _wanted: nullcontext(meter),
            trainable=Sleeper,
        )


def bare(spec: StudySpec, meter: Meter, plan: dict[str, Any]) -> None:
    """Tune with its own parts."""
    os.environ.update(execution._TUNE_ENVIRONMENT)
    if plan["sampler"] == "random":
        sampler: Any = RandomSampler(seed=spec.seed)
    else:
        startup = samplers.RANDOM_TRIALS
        sampler = TPESampler(multivariate=False, constant_liar=False, n_startup_trials=startup, seed=spec.seed)
    rungs = {"max_t": spec.max_epochs, "grace_period": GRACE_PERIOD, "reduction_factor": spec.reduction_factor}
    tune.Tuner(
        tune.with_resources(Nothing, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(spec.space.distributions(), metric="score", mode="max", sampler=sampler),
            scheduler=ASHAScheduler(time_attr="training_iteration", metric="score", mode="max", **rungs),
            num_samples=spec.trials,
            max_concurrent_trials=WORKERS,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=plan["folder"],
            verbose=0,
            callbacks=[Counting(meter)],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False, checkpoint_frequency=0),
        ),
    ).fit()


def search(plan: dict[str, Any], meter: Meter) -> None:
    """One search in this process, with a Ray of its own."""
    spec = sleeping_spec("nothing", f"{plan['folder']}/storage", grace_period=GRACE_PERIOD)
    spec = replace(spec, trials=plan["trials"], sampler=plan["sampler"])
    ray.init(address="local", num_cpus=WORKERS, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    try:
        {"ours": ours, "bare": bare}[plan["side"]](spec, meter, plan)
    finally:
        ray.shutdown()


def main() -> None:
    """Search, and print what was measured."""
    plan = json.loads(sys.argv[1])
    meter = Meter(plan["first"], plan["trials"])
    search(plan, meter)
    print(json.dumps(meter.summary()))


if __name__ == "__main__":
    main()
