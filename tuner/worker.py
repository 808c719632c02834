"""The warm worker: a Tune trainable that keeps its process, its device and its data from trial to trial.

One `step` is one epoch. Whatever can fail happens in a step and is reported as a `Failure`, so that the process can
take the next trial; a `reset` that failed or was slow would make Tune fail that next trial and leak its slot.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

from tuner.errors import CheckpointError, TunerError, first_line
from tuner.exchange import Assignment, Failure, Report
from tuner.marks import mark_trial
from tuner.retention import model_folder, study_folder, trial_folder
from tuner.settings import load_settings
from tuner.spec import StudySpec
from tuner.telemetry import WorkerMetrics
from tuner.training.allocator import give_back_memory, keep_freed_memory
from tuner.training.config import Hyperparameters

if TYPE_CHECKING:
    from tuner.training.checkpoint import SavedCheckpoints
    from tuner.training.data import TrainingData
    from tuner.training.epoch import EpochReport
    from tuner.training.loop import TrialTrainer
    from tuner.training.memory import GpuMeter
    from tuner.training.networks import Architecture

# A checkpoint is written at each rung, at the end, after this many seconds of training at the latest, and earlier
# where it costs at most this share of the time.
CHECKPOINT_SECONDS = 30.0
CHECKPOINT_SHARE = 0.02


class Worker(tune.Trainable):  # type: ignore[misc]
    """Trains one trial after the other. Tune calls `setup` once, then `step` for each epoch and `reset` between trials.

    setup's keyword arguments: spec_json (the frozen StudySpec), cache (folder of decoded data on this machine), threads
    (of torch, on CPUs), gpu (whether Ray reserved a GPU, or a share of one, for this worker), trace (file for the trace
    of the first epoch that is not a trial's first; empty: none is traced).
    """

    def setup(
        self,
        config: dict[str, Any],
        spec_json: str = "",
        cache: str = "",
        threads: int = 1,
        gpu: bool = False,
        trace: str = "",
    ) -> None:
        self._spec = StudySpec.from_json(spec_json)
        self._cache = Path(cache)
        self._threads = threads
        self._gpu = gpu and not load_settings().logical_gpus
        self._trace = Path(trace) if trace else None
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._data: TrainingData | None = None
        self._network: Architecture | None = None
        self._trainer: TrialTrainer | None = None
        self._meter: GpuMeter | None = None
        self._assign(config)
        self._slot = self._assignment.slot
        self._metrics = WorkerMetrics(self._spec.name, self._slot)
        self._idle_since_s: float | None = None

    def __repr__(self) -> str:
        # Ray asks once, when the process has started, and shows it on the dashboard's page of actors.
        # If `setup` failed there is no name, and an error here would hide the one there.
        return f"tuner: {self._spec.name} slot {self._slot}" if hasattr(self, "_slot") else "tuner: not set up"

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial. Quick and cannot fail: the old trial is only let go of, the new one begins in `step`."""
        self._trainer = None
        give_back_memory()
        self._assign(new_config)
        return True

    def _assign(self, config: dict[str, Any]) -> None:
        self._assignment = Assignment(**config)
        self._max_epochs = self._assignment.max_epochs or self._spec.max_epochs
        known = (self._assignment.checkpoint, self._assignment.previous)
        self._checkpoints = [reference for reference in known if reference is not None]
        self._micro_batch: int | None = None
        self._troubles: list[str] = []
        self._restarted = ""
        self._costs: dict[str, float] = {}
        self._unsaved_s = 0.0
        self._save_cost_s = 0.0
        for log in (sys.stdout, sys.stderr):
            mark_trial(log, self._assignment.number, self._assignment.attempt, self._assignment.start_epoch)

    def step(self) -> dict[str, Any]:
        """Train and validate one epoch: {"report": Report or Failure, "slot": of this process}.

        A trial that runs out of memory is rebuilt once, from its newest checkpoint, with micro-batches; its next report
        may then be of an epoch that was reported before. Not one that shares its GPU: it is to get a larger part.
        """
        if self._idle_since_s is not None:
            self._metrics.waited(time.perf_counter() - self._idle_since_s)
        outcome = self._try_epoch()
        out_of_memory = isinstance(outcome, Failure) and outcome.kind == "out_of_memory"
        if out_of_memory and self._assignment.part == 1 and self._take_micro_batches():
            outcome = self._try_epoch()
        self._idle_since_s = time.perf_counter()
        return {"report": outcome, "slot": self._slot}

    def _try_epoch(self) -> Report | Failure:
        from torch import cuda

        from tuner.training.epoch import Diverged
        from tuner.training.memory import ran_out_of_memory

        try:
            return self._epoch()
        except Exception as error:
            if isinstance(error, Diverged):
                failure = Failure("diverged", str(error))
            elif ran_out_of_memory(error):
                failure = Failure("out_of_memory", first_line(error))
            elif isinstance(error, TunerError):
                failure = Failure("error", str(error))
            # After a CUDA error other than out-of-memory nothing on this device works any more: leave the process.
            elif "CUDA error" in str(error):
                raise
            else:
                failure = Failure("error", self._describe(error), traceback=traceback.format_exc())
                sys.stderr.write(failure.traceback)  # to this process's log
        # Only here, after the error and its traceback are gone: the frames that it passed through hold tensors too.
        self._trainer = None
        gc.collect()
        if cuda.is_available():
            cuda.empty_cache()
        return failure

    def _describe(self, error: Exception) -> str:
        """In one line; of the user's own network also where in it."""
        from tuner.training.own_model import describe_error

        return describe_error(error, model_folder(self._spec.storage, self._spec.name))

    def _take_micro_batches(self) -> bool:
        """Have the trial go on in quarters of its batch; False if it does so already, or the batch is too small."""
        if self._micro_batch is not None or self._data is None:
            return False
        batch = min(self._hyperparameters().batch_size, self._data.info.train_size)
        # Batch norm needs two pictures at a time.
        self._micro_batch = max(2, batch // 4)
        self._troubles = [f"out of memory with batches of {batch} (now in parts of {self._micro_batch})"]
        return batch >= 2 * self._micro_batch

    def _epoch(self) -> Report:
        trainer = self._trainer or self._begin()
        result = self._train(trainer)
        held_bytes = self._meter.peak_bytes() if self._meter else None
        self._metrics.epoch(images=result.images, seconds=result.seconds, gpu_memory_bytes=held_bytes)
        self._unsaved_s += result.seconds
        saved, save_error = None, ""
        if result.waited or self._save_is_due(result.epoch):
            try:
                saved = self._save(trainer)
            except CheckpointError as error:
                save_error = str(error)
        restarted, self._restarted = self._restarted, ""
        costs, self._costs = self._costs, {}
        return Report(
            epoch=result.epoch,
            score=result.score,
            train_loss=result.train_loss,
            val_loss=result.val_loss,
            seconds=result.seconds,
            worker=self._name,
            checkpoint=saved.last if saved else None,
            best=saved.best if saved else None,
            restarted=restarted,
            micro_batch=self._micro_batch or 0,
            save_error=save_error,
            waited=result.waited,
            memory=self._meter.news() if self._meter else None,
            costs=costs,
            scores=result.scores,
        )

    def _train(self, trainer: TrialTrainer) -> EpochReport:
        # A trial's first epoch pays for what is set up once; it is traced only where there is no other.
        if self._trace is None or self._trace.exists() or not (trainer.epoch or self._max_epochs == 1):
            return trainer.run_epoch()
        from tuner.training.tracing import traced_epoch

        return traced_epoch(trainer, self._trace)

    def _begin(self) -> TrialTrainer:
        """The first step of an attempt: data on the device, network, and the checkpoint to go on from."""
        import torch

        from tuner.training.data import load_training_data
        from tuner.training.loop import TrialTrainer
        from tuner.training.memory import open_meter
        from tuner.training.networks import open_network

        # Without a reservation a GPU may be visible all the same; it is somebody else's.
        device = torch.device("cuda" if self._gpu else "cpu")
        if self._gpu and not torch.cuda.is_available():
            raise TunerError(
                f"Ray reserved a GPU on {socket.gethostname()}, but torch finds none there: check the driver "
                "(`nvidia-smi`), or train on CPUs with --gpus 0"
            )
        if self._data is None:
            self._check_storage()
            if device.type == "cpu":
                torch.set_num_threads(self._threads)
                keep_freed_memory()
            device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
            self._name = f"{socket.gethostname()}:{os.getpid()} ({device_name})"
            self._meter = open_meter(gpu=self._gpu)
            self._data = load_training_data(self._spec.data, self._cache, device)
            if self._data.info.fingerprint != self._spec.data_fingerprint:
                raise TunerError(
                    f"data set {self._spec.data.dataset} is not the one that the study was created with (its files "
                    "changed, or this machine has others): restore it, or start a new study"
                )
        if self._network is None:
            self._network = open_network(self._spec.model, model_folder(self._spec.storage, self._spec.name))
        if self._meter is not None:
            self._meter.begin(self._assignment.part)
        trainer = TrialTrainer(
            self._hyperparameters(),
            self._data,
            max_epochs=self._max_epochs,
            seed=self._spec.training_seed(self._assignment.number),
            device=device,
            continued_from=self._assignment.continued_from,
            micro_batch=self._micro_batch,
            network=self._network,
            params=self._spec.all_params(self._assignment.params),
            score=self._spec.metric,
        )
        if self._spec.costs:
            self._costs = trainer.costs(self._spec.costs)
        self._restore(trainer)
        self._trainer = trainer
        return trainer

    def _check_storage(self) -> None:
        """The driver made the folder: a machine that does not see it would keep checkpoints where nobody looks."""
        folder = study_folder(self._spec.storage, self._spec.name)
        if not folder.is_dir():
            raise TunerError(
                f"{folder} is not there on {socket.gethostname()}: the storage of a study has to be mounted at the "
                "same path on all machines"
            )

    def _restore(self, trainer: TrialTrainer) -> None:
        """Go on from the newest checkpoint that is whole; if there is none, the trial begins again."""
        from tuner.training.checkpoint_ref import CheckpointRef

        for reference in self._checkpoints:
            try:
                trainer.restore(CheckpointRef.from_dict(reference))
                break
            except CheckpointError as error:
                self._troubles.append(str(error))
        if self._troubles:
            remedy = f"went on after epoch {trainer.epoch}" if trainer.epoch else "began at epoch 1 again"
            self._restarted = f"{'; '.join(self._troubles)}: {remedy}"

    def _hyperparameters(self) -> Hyperparameters:
        return self._spec.hyperparameters(self._assignment.params)

    def _save_is_due(self, epoch: int) -> bool:
        if epoch in self._spec.rungs(self._max_epochs) or epoch >= self._max_epochs:
            return True
        if self._unsaved_s >= CHECKPOINT_SECONDS:
            return True
        return 0 < self._save_cost_s <= CHECKPOINT_SHARE * self._unsaved_s

    def _save(self, trainer: TrialTrainer) -> SavedCheckpoints:
        start_s = time.perf_counter()
        folder = trial_folder(self._spec.storage, self._spec.name, self._assignment.number)
        # An attempt that was given up may still be alive somewhere, and save: it must not meet its successor's files.
        saved = trainer.save(folder / f"attempt-{self._assignment.attempt}")
        self._save_cost_s = time.perf_counter() - start_s
        self._unsaved_s = 0.0
        self._checkpoints = [saved.last.as_dict(), *self._checkpoints][:2]
        return saved

    def cleanup(self) -> None:
        self._trainer = None
        self._data = None
        self._metrics.close()
