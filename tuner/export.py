"""The best epoch of a study as a folder to ship: model, metrics on the test split, model card.

Reads the study, never the driver. Imports torch: import this module where it is used.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from tuner import __version__, modelcard
from tuner.errors import CheckpointError, ExportError, UsageError
from tuner.exported_model import (
    CONFIG_FILE,
    ONNX_FILE,
    WEIGHTS_FILE,
    build_classifier,
    load_exported,
    write_onnx,
    write_pytorch,
)
from tuner.spec import StudySpec
from tuner.study import Study
from tuner.training import checkpoint
from tuner.training.cache import describe
from tuner.training.checkpoint_ref import CheckpointRef
from tuner.training.dataspec import DataInfo
from tuner.training.metrics import classification_report
from tuner.training.remarks import no_pictures
from tuner.training.testsplit import load_test_split

LABELS_FILE, METRICS_FILE, CARD_FILE = "labels.txt", "metrics.json", "README.md"
FILES = (ONNX_FILE, WEIGHTS_FILE, CONFIG_FILE, LABELS_FILE, METRICS_FILE, CARD_FILE)
"""All files of an export."""

TOLERANCE = 1e-4
# Larger ones were slower on CPUs, and take memory in proportion.
_BATCH = 128
_SCRATCH = ".export-"
_REREADS = 5


@dataclass(frozen=True)
class Parity:
    """How well onnxruntime and PyTorch agree on the test split.

    max_abs_difference: of any probability. images: pictures compared. differing_argmax: pictures that get another
    class; at most those whose two best classes are `tolerance` or less apart. tolerance: what is allowed.
    """

    max_abs_difference: float
    images: int
    differing_argmax: int
    tolerance: float = TOLERANCE


@dataclass(frozen=True)
class Exported:
    """What was written to `folder`. epoch: 1-based; validation_score: in the study's metric; test_accuracy, test_f1
    (macro): 0 to 1, of model.onnx."""

    folder: Path
    trial: int
    epoch: int
    validation_score: float
    test_accuracy: float
    test_f1: float
    parity: Parity


def export_best(
    study: Study,
    out: Path,
    *,
    cache: Path,
    force: bool = False,
    say: Callable[[str], None],
    reread: Callable[[], Study] | None = None,
) -> Exported:
    """Write the best epoch of `study` to the folder `out`, which is then either a whole export or as it was before.

    cache: folder of decoded data sets. force: replace an earlier export in `out`. say: gets lines of progress.
    reread: reads the study anew; a search that still runs may have replaced the best weights since `study` was read.
    An export that is killed leaves `out` as it was, or absent while it is replaced, and beside it a folder
    `.<name>.export-...`, which the next export names.

    Raises UsageError if `out` is a file, or a non-empty folder and not to be replaced; ExportError if the study has
    nothing to export, its data set changed, ONNX and PyTorch disagree, or `out` cannot be written; CheckpointError if
    the weights are missing or damaged; DataError for an unreadable data set.
    """
    target = Path(os.path.realpath(out))
    _check_target(target, force)
    for left in sorted(target.parent.glob(f".{glob.escape(target.name)}{_SCRATCH}*")):
        earlier = " (the export before it is in old/ there)" if (left / "old").exists() else ""
        say(f"{left} is of an export that was killed, or that still runs{earlier}: delete it if none does")
    study, trial, ref, trained = _read_best(study, reread)
    so_far = ", the best so far of a search that still runs" if study.driver is not None else ""
    say(f"exporting trial {trial}, epoch {ref.epoch} ({study.spec.metric} {ref.score:.4f}){so_far}")
    info = _describe_unchanged(study.spec, cache)
    test = load_test_split(study.spec.data, cache)
    images, labels = test.images, test.labels
    left_out = no_pictures(test.skipped, test.others)
    if left_out:
        say(f"left out of the test split: {left_out}")

    description, weights = trained.state, trained.group("model")
    assert description["classes"] == list(info.classes)
    assert description["input"] == dict(zip(("height", "width", "channels"), images.shape[1:], strict=True))
    try:
        with _replacing(target, force) as folder:
            write_pytorch(folder, description, weights)
            metadata = {"classes": json.dumps(info.classes), "study": study.spec.name, "trial": str(trial)}
            write_onnx(folder / ONNX_FILE, build_classifier(description, weights), description["input"], metadata)
            say(f"comparing {ONNX_FILE} with PyTorch on {len(images)} test pictures")
            probabilities = _run_onnx(folder / ONNX_FILE, images)
            # From the files, not from memory: what is compared is what was written.
            parity = _compare(probabilities, _run_pytorch(load_exported(folder), images))
            metrics = {
                **classification_report(labels, probabilities.argmax(axis=1), info.classes),
                "validation": {
                    "score": ref.score,
                    "epoch": ref.epoch,
                    "trial": trial,
                    "metric": study.spec.metric,
                },
                "parity": asdict(parity),
                "test_size": len(images),
                "test_files_left_out": len(test.skipped),
                "test_source": info.test_source,
                "sha256": {ONNX_FILE: _sha256(folder / ONNX_FILE), "checkpoint": ref.sha256},
            }
            _write_texts(folder, study, info, description["hyperparameters"], metrics)
    except OSError as error:
        raise ExportError(f"cannot write the export to {out}: {error.strerror or error}") from error
    return Exported(out, trial, ref.epoch, ref.score, metrics["accuracy"], metrics["f1"], parity)


def _check_target(target: Path, force: bool) -> None:
    """Raise UsageError unless `target` may become an export. --force replaces exports and nothing else: the folder's
    old content is deleted, and `--out .` is quickly typed."""
    for path in (target, *target.parents):
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file: give a folder for the export with --out")
    if not target.exists():
        return
    content = {entry.name for entry in target.iterdir()}
    if not content:
        return
    if not force:
        raise UsageError(f"{target} is not empty: give another folder with --out, or replace it with --force")
    missing = [name for name in FILES if name not in content]
    if missing:
        raise UsageError(
            f"{target} is not an earlier export (it has no {missing[0]}), and --force replaces nothing else: "
            f"give another folder with --out"
        )


def _select(study: Study) -> tuple[int, CheckpointRef]:
    """The number of the best trial and the checkpoint of its best weights."""
    name, best = study.spec.name, study.best
    if best is None:
        advice = {
            "running": "wait for its first checkpoint",
            "stopped": f"go on with: tuner resume {name}",
            "complete": f"no trial ended well, see: tuner trials {name}",
        }
        raise ExportError(f"study {name} has no trained weights to export: {advice[study.state]}")
    record = next(trial for trial in study.trials if trial.number == best.trial)
    assert record.best_checkpoint is not None, "the best is chosen among trials that have a checkpoint"
    ref = CheckpointRef.from_dict(record.best_checkpoint)
    if (ref.epoch, ref.score) not in record.values:
        raise ExportError(
            f"the weights kept of trial {best.trial} of study {name} claim score {ref.score} at epoch {ref.epoch}, "
            f"which the trial never reported: they cannot be trusted, search again"
        )
    return best.trial, ref


def _read_best(
    study: Study, reread: Callable[[], Study] | None
) -> tuple[Study, int, CheckpointRef, checkpoint.Checkpoint]:
    """The study as it was when its best checkpoint was read and found whole, the trial's number, and the checkpoint."""
    for _ in range(_REREADS):
        trial, ref = _select(study)
        try:
            return study, trial, ref, checkpoint.read(ref)
        except CheckpointError as error:
            newer = reread() if reread is not None else study
            # A file goes only after the journal has named its successor: if it names the same one, that one is damaged.
            if _select(newer) == (trial, ref):
                raise CheckpointError(
                    f"{error}; to export trial {trial}, put that file back as the search wrote it, or search again"
                ) from error
            study = newer
    raise ExportError(f"the best checkpoint of study {study.spec.name} was replaced each time it was read: try again")


def _describe_unchanged(spec: StudySpec, cache: Path) -> DataInfo:
    info = describe(spec.data, cache)
    if info.fingerprint != spec.data_fingerprint:
        raise ExportError(
            f"data set {spec.data.dataset} is not the one that study {spec.name} was created with (its files changed, "
            "or this machine has others): restore it and export again"
        )
    return info


@contextmanager
def _replacing(target: Path, force: bool) -> Iterator[Path]:
    """Give an empty folder to fill, which becomes `target` when the block ends well and vanishes otherwise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}{_SCRATCH}", dir=target.parent) as scratch:
        new, old = Path(scratch, "new"), Path(scratch, "old")
        new.mkdir()
        yield new
        # After a power cut the folder's new name must not stand before its content does.
        for path in (*new.iterdir(), new):
            _sync(path)
        # Again, for the export took a while.
        _check_target(target, force)
        try:
            if target.exists():
                os.rename(target, old)
            os.rename(new, target)
        except BaseException:
            if old.exists():
                os.rename(old, target)
            raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _run_onnx(path: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["probabilities"], {"images": part})[0] for part in _batches(images)])


def _run_pytorch(classifier: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return np.concatenate([classifier(torch.from_numpy(part)).numpy() for part in _batches(images)])


def _batches(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]


def _compare(onnx: NDArray[np.float32], pytorch: NDArray[np.float32]) -> Parity:
    """Compare probabilities (both N x K). Raises ExportError if they differ by more than the tolerance."""
    difference = float(np.abs(onnx - pytorch).max())
    chosen, expected = onnx.argmax(axis=1), pytorch.argmax(axis=1)
    rows = np.arange(len(pytorch))
    lead = pytorch[rows, expected] - pytorch[rows, chosen]
    other_class = int((lead > TOLERANCE).sum())
    # Not "difference > TOLERANCE", which is False for NaN.
    if not difference <= TOLERANCE or other_class:
        raise ExportError(
            f"{ONNX_FILE} and PyTorch disagree on the test split, so nothing was written: probabilities differ by up "
            f"to {difference:.1e} (allowed are {TOLERANCE:g}), {other_class} of {len(rows)} pictures get another "
            f"class; try other versions of torch, onnxscript and onnxruntime"
        )
    return Parity(difference, len(rows), int((chosen != expected).sum()))


def _write_texts(
    folder: Path, study: Study, info: DataInfo, hyperparameters: dict[str, Any], metrics: dict[str, Any]
) -> None:
    versions = {"tuner": __version__, "torch": torch.__version__} | {
        name: version(name) for name in ("onnx", "onnxruntime")
    }
    texts = {
        LABELS_FILE: "".join(f"{name}\n" for name in info.classes),
        METRICS_FILE: json.dumps(metrics, indent=2, allow_nan=False) + "\n",
        CARD_FILE: modelcard.render(study, info, hyperparameters, metrics, versions),
    }
    for name, text in texts.items():
        # Class names are names of folders, which need not be UTF-8.
        (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
