"""A trace of where the time of training goes, for the viewers of Chrome and Perfetto (https://ui.perfetto.dev)."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from tuner.training.epoch import EpochReport
from tuner.training.loop import TrialTrainer

_log = logging.getLogger(__name__)

# The trace of a whole epoch can have hundreds of megabytes. The first steps pay for what is set up once.
SKIPPED_STEPS, TRACED_STEPS = 3, 30


def traced_epoch(trainer: TrialTrainer, path: Path) -> EpochReport:
    """Train an epoch and write the trace of some of its steps to `path`, *.json or *.json.gz.

    Operators with the shapes of their inputs; on GPUs their kernels too. The epoch gives what it would give without,
    only more slowly; a trace that cannot be written is a warning.
    """
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    # Two workers may begin one at the same time.
    partial = path.with_name(f"partial-{os.getpid()}-{path.name}")

    def write(done: profile) -> None:
        try:
            done.export_chrome_trace(str(partial))
            partial.replace(path)
        except (OSError, RuntimeError) as error:
            _log.warning("the trace cannot be written to %s: %s", path, error)

    with profile(
        activities=activities,
        schedule=schedule(skip_first=SKIPPED_STEPS, wait=0, warmup=1, active=TRACED_STEPS, repeat=1),
        on_trace_ready=write,
        record_shapes=True,
    ) as tracer:
        return trainer.run_epoch(after_step=tracer.step)
