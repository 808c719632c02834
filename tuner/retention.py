"""Which checkpoint files stay: the last and best of running and complete trials; none of pruned and failed ones."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from tuner.spec import StudySpec
from tuner.study import TrialRecord


def study_folder(storage: str, study: str) -> Path:
    """Where the checkpoints of a study are. The driver makes it; where it is missing the storage is not mounted."""
    return Path(storage) / study


def model_folder(storage: str, study: str) -> Path:
    """Where a study keeps what its network is made from, if that is not the built-in one."""
    return study_folder(storage, study) / "model"


def trace_file(storage: str, study: str) -> Path:
    """Where `--profile` puts the trace of an epoch."""
    return study_folder(storage, study) / "trace.json.gz"


def trial_folder(storage: str, study: str, number: int) -> Path:
    """Where the checkpoints of a trial are, a folder for each attempt."""
    return study_folder(storage, study) / f"trial-{number:05d}"


def discard_checkpoints(spec: StudySpec, trial: TrialRecord) -> None:
    """Delete what an ended trial does not need any more; called again after a crash, it finishes what was left.

    A file that cannot be deleted stays: nothing of the study depends on its absence.
    """
    if spec.keep_all or trial.state not in ("complete", "pruned", "failed"):
        return
    folder = trial_folder(spec.storage, spec.name, trial.number)
    kept = {Path(ref["path"]) for ref in (trial.checkpoint, trial.best_checkpoint) if ref is not None}
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for attempt in folder.glob("attempt-*"):
        if not any(path.parent == attempt for path in kept):
            shutil.rmtree(attempt, ignore_errors=True)
            continue
        for file in attempt.glob("*"):
            if file not in kept:
                with suppress(OSError):
                    file.unlink()
