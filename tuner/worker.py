"""The warm worker: a Tune trainable that keeps its process, its device and its data from trial to trial.

One `step` is one epoch. Whatever can fail happens in a step and is reported as a `Failure`, so that the process can
take the next trial; a `reset` that failed or was slow would make Tune fail that next trial and leak its slot.
"""

from __future__ import annotations

import os
import socket
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

from tuner.errors import CheckpointError, TunerError, first_line
from tuner.exchange import Assignment, Failure, Report
from tuner.retention import trial_folder
from tuner.settings import load_settings
from tuner.spec import StudySpec
from tuner.training.config import Hyperparameters

if TYPE_CHECKING:
    from tuner.training.data import TrainingData
    from tuner.training.loop import TrialTrainer

# A checkpoint is written at each rung, at the end, after this many seconds of training at the latest, and earlier
# where it costs at most this share of the time.
CHECKPOINT_SECONDS = 30.0
CHECKPOINT_SHARE = 0.02


class Worker(tune.Trainable):  # type: ignore[misc]
    """Trains one trial after the other. Tune calls `setup` once, then `step` for each epoch and `reset` between trials.

    setup's keyword arguments: spec_json (the frozen StudySpec), cache (folder of decoded data on this machine), threads
    (of torch, on CPUs), gpu (whether Ray reserved a GPU, or a share of one, for this worker).
    """

    def setup(
        self, config: dict[str, Any], spec_json: str = "", cache: str = "", threads: int = 1, gpu: bool = False
    ) -> None:
        self._spec = StudySpec.from_json(spec_json)
        self._cache = Path(cache)
        self._threads = threads
        self._gpu = gpu and not load_settings().logical_gpus
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._data: TrainingData | None = None
        self._trainer: TrialTrainer | None = None
        self._assign(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial. Quick and cannot fail: the old trial is only let go of, the new one begins in `step`."""
        self._trainer = None
        self._assign(new_config)
        return True

    def _assign(self, config: dict[str, Any]) -> None:
        self._assignment = Assignment(**config)
        self._restarted = ""
        self._unsaved_s = 0.0
        self._save_cost_s = 0.0

    def step(self) -> dict[str, Any]:
        """Train and validate one epoch: {"report": Report or Failure}."""
        from torch import cuda

        from tuner.training.loop import Diverged

        try:
            return {"report": self._epoch()}
        except Diverged as error:
            return {"report": self._let_go(Failure("diverged", str(error)))}
        except (cuda.OutOfMemoryError, MemoryError) as error:
            return {"report": self._let_go(Failure("out_of_memory", first_line(error)))}
        except TunerError as error:
            return {"report": self._let_go(Failure("error", str(error)))}
        except Exception as error:
            # After a CUDA error other than out-of-memory nothing on this device works any more: leave the process.
            if "CUDA error" in str(error):
                raise
            # torch has no class of its own for memory that runs out on the CPU.
            if "can't allocate memory" in str(error):
                return {"report": self._let_go(Failure("out_of_memory", first_line(error)))}
            detail = f"{type(error).__name__}: {first_line(error)}"
            return {"report": self._let_go(Failure("error", detail, traceback=traceback.format_exc()))}

    def _let_go(self, failure: Failure) -> Failure:
        from torch import cuda

        self._trainer = None
        if cuda.is_available():
            cuda.empty_cache()
        return failure

    def _epoch(self) -> Report:
        trainer = self._trainer or self._begin()
        result = trainer.run_epoch()
        self._unsaved_s += result.seconds
        saved = self._save(trainer) if self._save_is_due(result.epoch) else None
        restarted, self._restarted = self._restarted, ""
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
        )

    def _begin(self) -> TrialTrainer:
        """The first step of an attempt: data on the device, network, and the checkpoint to go on from."""
        import torch

        from tuner.training.checkpoint_ref import CheckpointRef
        from tuner.training.data import load_training_data

        # Without a reservation a GPU may be visible all the same; it is somebody else's.
        device = torch.device("cuda" if self._gpu else "cpu")
        if self._gpu and not torch.cuda.is_available():
            raise TunerError(
                f"Ray reserved a GPU on {socket.gethostname()}, but torch finds none there: check the driver "
                "(`nvidia-smi`), or train on CPUs with --gpus 0"
            )
        if self._data is None:
            if device.type == "cpu":
                torch.set_num_threads(self._threads)
            device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
            self._name = f"{socket.gethostname()}:{os.getpid()} ({device_name})"
            self._data = load_training_data(self._spec.data, self._cache, device)
            if self._data.info.fingerprint != self._spec.data_fingerprint:
                raise TunerError(
                    f"data set {self._spec.data.dataset} is not the one that the study was created with (its files "
                    "changed, or this machine has others): restore it, or start a new study"
                )
        trainer = self._new_trainer(self._data, device)
        reference = self._assignment.checkpoint
        if reference is not None:
            try:
                trainer.restore(CheckpointRef.from_dict(reference))
            except CheckpointError as error:
                self._restarted = str(error)
                trainer = self._new_trainer(self._data, device)
        self._trainer = trainer
        return trainer

    def _new_trainer(self, data: TrainingData, device: Any) -> TrialTrainer:
        from tuner.training.loop import TrialTrainer

        hyperparameters = Hyperparameters.from_params({**self._spec.space.constants, **self._assignment.params})
        seed = self._spec.seed * 1_000_003 + self._assignment.number
        return TrialTrainer(hyperparameters, data, max_epochs=self._spec.max_epochs, seed=seed, device=device)

    def _save_is_due(self, epoch: int) -> bool:
        if epoch in self._spec.rungs() or epoch >= self._spec.max_epochs or self._unsaved_s >= CHECKPOINT_SECONDS:
            return True
        return 0 < self._save_cost_s <= CHECKPOINT_SHARE * self._unsaved_s

    def _save(self, trainer: TrialTrainer) -> Any:
        start_s = time.perf_counter()
        folder = trial_folder(self._spec.storage, self._spec.name, self._assignment.number)
        # An attempt that was given up may still be alive somewhere, and save: it must not meet its successor's files.
        saved = trainer.save(folder / f"attempt-{self._assignment.attempt}")
        self._save_cost_s = time.perf_counter() - start_s
        self._unsaved_s = 0.0
        return saved

    def cleanup(self) -> None:
        self._trainer = None
        self._data = None
