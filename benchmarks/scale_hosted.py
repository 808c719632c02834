"""Workers that sleep in place of training: one process each, or many of them hosted by one process.

1,024 worker processes do not fit on a small machine. Hosted, they do: Tune's controller, Ray's actor manager, its
placement groups, object references and `ray.wait` are the real ones, and so is each worker's `tune.Trainable`; only
the processes are missing. One asynchronous actor per driver holds all the trainables and sleeps for all at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import ray
from ray import tune
from ray.actor import ActorClass

from tuner.exchange import Assignment, Report
from tuner.retention import trial_folder
from tuner.search import actors
from tuner.spec import StudySpec
from tuner.training.checkpoint_ref import CheckpointRef

EPOCH_S = "SCALE_EPOCH_S"  # environment variable of the driver, for its host: how long an epoch lasts
SAVE_EVERY = 3  # epochs between two checkpoints of a `Rarely`
_MOST_CALLS = 10_000


def score(number: int, epoch: int) -> float:
    """A learning curve: a level of the trial's own, in (0, 1), approached from below."""
    level = int(hashlib.sha256(str(number).encode()).hexdigest()[:8], 16) / 2**32
    return level * (1.0 - 0.5 / epoch)


class Sleeper(tune.Trainable):  # type: ignore[misc]
    """What the driver hears from it is what a worker says that saves a checkpoint in each epoch: the longest reports.

    setup's `cache` is the length of an epoch in seconds.
    """

    def setup(self, config: dict[str, Any], spec_json: str = "", cache: str = "0", **_: Any) -> None:
        self.spec = StudySpec.from_json(spec_json)
        self.epoch_s = float(cache)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next trial."""
        self.assignment = Assignment(**new_config)
        self.epoch = self.assignment.start_epoch
        self.best: CheckpointRef | None = None
        return True

    def step(self) -> dict[str, Any]:
        """One epoch."""
        time.sleep(self.epoch_s)
        return self.report()

    def report(self) -> dict[str, Any]:
        """The end of an epoch."""
        self.epoch += 1
        number, reached = self.assignment.number, score(self.assignment.number, self.epoch)
        folder = trial_folder(self.spec.storage, self.spec.name, number) / f"attempt-{self.assignment.attempt}"
        path = folder / f"epoch-{self.epoch:04d}.safetensors"
        saved = CheckpointRef(str(path), hashlib.sha256(str(path).encode()).hexdigest(), self.epoch, reached)
        report = Report(
            epoch=self.epoch,
            score=reached,
            train_loss=1.2345678 / self.epoch,
            val_loss=1.3456789 / self.epoch,
            seconds=self.epoch_s,
            worker=f"gpu-machine-017:{os.getpid()} (NVIDIA H100 80GB HBM3)",
            checkpoint=saved,
            best=saved,
        )
        return {"report": report, "slot": self.assignment.slot}


class Rarely(Sleeper):
    """A worker that does not save each epoch, so that there is something to lose."""

    def report(self) -> dict[str, Any]:
        """The end of an epoch."""
        result = super().report()
        if self.epoch % SAVE_EVERY:
            result["report"] = replace(result["report"], checkpoint=None, best=None)
        return result


class Hosted(Sleeper):
    """A worker whose host sleeps for it."""

    def step(self) -> dict[str, Any]:
        return self.report()


class Host:
    """The process in which all workers of a driver live."""

    def __init__(self, epoch_s: float) -> None:
        self._epoch_s = epoch_s
        self._workers: dict[int, Any] = {}
        self._classes: dict[str, Any] = {}

    async def call(self, worker: int, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One call of a worker's method, as Ray would make it in the worker's own process."""
        while worker not in self._workers:  # its class is on its way
            await asyncio.sleep(0.01)
        if method == "__ray_ready__":
            return None
        if method == "__ray_terminate__":
            del self._workers[worker]
            return None
        if method == "train":
            await asyncio.sleep(self._epoch_s)
        return getattr(self._workers[worker], method)(*args, **kwargs)

    async def create(self, worker: int, trainable: list[Any], kwargs: dict[str, Any]) -> None:
        """Start a worker. `trainable` is a list of the object reference of its class."""
        key = trainable[0].hex()
        if key not in self._classes:
            self._classes[key] = await trainable[0]
        self._workers[worker] = self._classes[key](**kwargs)


class _Handle:
    """What Tune takes for the handle of a worker's actor."""

    def __init__(self, host: Any, worker: int) -> None:
        self._host = host
        self._worker = worker
        self._actor_id = SimpleNamespace(hex=lambda: f"hosted-{worker}")

    def __getattr__(self, method: str) -> Any:
        if method.startswith("__") and not method.startswith("__ray_"):
            raise AttributeError(method)
        call = self._host.call
        worker = self._worker
        return SimpleNamespace(remote=lambda *args, **kwargs: call.remote(worker, method, args, kwargs))


def _kill(_actor: Any) -> None:
    """Nothing: Tune kills processes that were asked to end and have not; a host that is busy ends its workers later."""


class _HostedClass(ActorClass):  # type: ignore[misc]
    """What Ray's actor manager takes for a class of actors."""


class HostedActorManager(actors.ActorManager):
    """Ray's actor manager, for workers that are hosted: put in place of the one of `tuner.search.actors`."""

    def __init__(self, resource_manager: Any) -> None:
        super().__init__(resource_manager)
        self._host = ray.remote(num_cpus=0, max_concurrency=_MOST_CALLS)(Host).remote(float(os.environ[EPOCH_S]))
        ray.kill = _kill
        self._started = 0
        self._class_refs: dict[Any, Any] = {}

    def add_actor(self, cls: Any, kwargs: dict[str, Any], **others: Any) -> Any:
        """As Ray's: the worker starts once its placement group is there."""
        if cls not in self._class_refs:
            self._class_refs[cls] = ray.put(cls.__ray_metadata__.modified_class)
        hosted = _HostedClass.__new__(_HostedClass)
        hosted.options = lambda **_options: SimpleNamespace(remote=lambda **given: self._start(cls, given))
        return super().add_actor(cls=hosted, kwargs=kwargs, **others)

    def _start(self, cls: Any, kwargs: dict[str, Any]) -> _Handle:
        self._started += 1
        self._host.create.remote(self._started, [self._class_refs[cls]], kwargs)
        return _Handle(self._host, self._started)
