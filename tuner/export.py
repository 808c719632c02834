"""The best epoch of a study as a folder to ship: model, metrics on the test split, model card.

Reads the study, never the driver. Imports torch: import this module where it is used.
"""

from __future__ import annotations

import glob
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tuner.bundle.checking import Parity, machine, measure
from tuner.bundle.formats import Formats
from tuner.bundle.predictor import PREDICT_FILE, REQUIREMENTS_FILE, write_predictor
from tuner.bundle.provenance import PROVENANCE_FILE, provenance, write_provenance
from tuner.bundle.writing import calibration_pictures, write_variant
from tuner.errors import CheckpointError, ExportError, UsageError
from tuner.exported_files import CARD_FILE, LABELS_FILE, METRICS_FILE, sync, write_sources, write_texts
from tuner.exported_model import CONFIG_FILE, build_classifier, write_config
from tuner.retention import model_folder
from tuner.spec import StudySpec
from tuner.study import Study
from tuner.training import checkpoint
from tuner.training.cache import describe, open_cached
from tuner.training.checkpoint_ref import CheckpointRef
from tuner.training.dataspec import DataInfo
from tuner.training.metrics import classification_report
from tuner.training.networks import open_network
from tuner.training.own_model import BuildFunction, OwnNetwork
from tuner.training.remarks import no_pictures
from tuner.training.testsplit import load_test_split

_MARKS = (CONFIG_FILE, LABELS_FILE, METRICS_FILE, CARD_FILE)
"""By these a folder is known as an export, also one of an earlier version."""
FILES = (*(variant.file for variant in Formats().variants), *_MARKS, PROVENANCE_FILE, PREDICT_FILE, REQUIREMENTS_FILE)
"""All files of an export, unless other formats are asked for."""

_DEFAULT_FORMATS = Formats()
_SCRATCH = ".export-"
_REREADS = 5


@dataclass(frozen=True)
class Exported:
    """What was written to `folder`. epoch: 1-based; validation_score: in the study's metric; test_accuracy, test_f1
    (macro): 0 to 1, of `file`; parity: of that with PyTorch."""

    folder: Path
    trial: int
    epoch: int
    validation_score: float
    test_accuracy: float
    test_f1: float
    file: str
    parity: Parity


def export_best(
    study: Study,
    out: Path,
    *,
    cache: Path,
    force: bool = False,
    formats: Formats = _DEFAULT_FORMATS,
    say: Callable[[str], None],
    reread: Callable[[], Study] | None = None,
) -> Exported:
    """Write the best epoch of `study` to the folder `out`, which is then either a whole export or as it was before.

    cache: folder of decoded data sets. force: replace an earlier export in `out`. formats: the files that the model
    becomes, each measured on the test split. say: gets lines of progress. reread: reads the study anew; a search that
    still runs may have replaced the best weights since `study` was read. An export that is killed leaves `out` as it
    was, or absent while it is replaced, and beside it a folder `.<name>.export-...`, which the next export names.

    Raises UsageError if `out` is a file, or a non-empty folder and not to be replaced; ExportError if the study has
    nothing to export, its data set changed, a file and PyTorch disagree, or `out` cannot be written; CheckpointError if
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

    build = _own_function(study.spec)
    description, weights = trained.state, trained.group("model")
    assert description["classes"] == list(info.classes)
    assert description["input"] == dict(zip(("height", "width", "channels"), images.shape[1:], strict=True))
    try:
        with _replacing(target, force) as folder:
            write_config(folder, description)
            write_sources(folder, study.spec)
            metadata = {"classes": json.dumps(info.classes), "study": study.spec.name, "trial": str(trial)}
            classifier = build_classifier(description, weights, build)
            cached = open_cached(study.spec.data, cache)
            calibration = calibration_pictures(cached.images, cached.split(study.spec.data)[1])
            for variant in formats.variants:
                write_variant(folder, variant, classifier, description["input"], metadata, calibration)
            models, probabilities = measure(folder, formats, build, classifier, images, labels, say)
            file = formats.variants[0].file
            metrics = {
                **classification_report(labels, probabilities.argmax(axis=1), info.classes),
                "validation": {
                    "score": ref.score,
                    "epoch": ref.epoch,
                    "trial": trial,
                    "metric": study.spec.metric,
                },
                "file": file,
                "parity": models[file]["parity"],
                "models": models,
                "machine": machine(),
                "test_size": len(images),
                "test_files_left_out": len(test.skipped),
                "test_source": info.test_source,
                "sha256": {**{name: entry["sha256"] for name, entry in models.items()}, "checkpoint": ref.sha256},
            }
            write_texts(folder, study, info, description, metrics)
            write_provenance(folder, provenance(study, trial, ref, info, description))
            if "onnx" in formats.names:
                write_predictor(folder)
    except OSError as error:
        raise ExportError(f"cannot write the export to {out}: {error.strerror or error}") from error
    return Exported(
        out, trial, ref.epoch, ref.score, metrics["accuracy"], metrics["f1"], file, Parity(**metrics["parity"])
    )


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
    missing = [name for name in _MARKS if name not in content]
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
            sync(path)
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


def _own_function(spec: StudySpec) -> BuildFunction | None:
    """The user's function that builds the study's network; None if the network is another one."""
    if spec.model is None or not spec.model.own:
        return None
    network = open_network(spec.model, model_folder(spec.storage, spec.name))
    assert isinstance(network, OwnNetwork)
    return network.function
