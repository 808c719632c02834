"""The best epoch of a study as a folder to ship: model, metrics on the test split, model card.

Reads the study, never the driver. Imports torch: import this module where it is used.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.best import preferred
from tuner.bundle.checking import Parity, machine, measure
from tuner.bundle.formats import Formats
from tuner.bundle.predictor import PREDICT_FILE, REQUIREMENTS_FILE, write_predictor
from tuner.bundle.provenance import PROVENANCE_FILE, provenance, write_provenance
from tuner.bundle.writing import calibration_pictures, write_variant
from tuner.confirmed import Confirmation, ranking
from tuner.errors import CheckpointError, ExportError
from tuner.export_folder import MARKS, SCRATCH, check_target, replacing
from tuner.exported_files import write_sources, write_texts
from tuner.exported_model import build_classifier, write_config
from tuner.refit import refit
from tuner.retention import model_folder
from tuner.spec import StudySpec
from tuner.study import Study, TrialRecord
from tuner.training import checkpoint
from tuner.training.cache import describe, open_cached
from tuner.training.checkpoint_ref import CheckpointRef
from tuner.training.dataspec import DataInfo
from tuner.training.decoding import Tell
from tuner.training.metrics import classification_report, cross_entropy
from tuner.training.networks import open_network
from tuner.training.objectives import format_costs, known_scores
from tuner.training.own_model import BuildFunction, OwnNetwork
from tuner.training.remarks import no_pictures
from tuner.training.testsplit import load_test_split

FILES = (*(variant.file for variant in Formats().variants), *MARKS, PROVENANCE_FILE, PREDICT_FILE, REQUIREMENTS_FILE)
"""All files of an export, unless other formats are asked for."""

_DEFAULT_FORMATS = Formats()
_REREADS = 5


@dataclass(frozen=True)
class Exported:
    """What was written to `folder`. trial: whose weights these are; epoch: 1-based; validation_score: in the study's
    metric, None after a refit, which has none; test_accuracy, test_f1 (macro): 0 to 1, of `file`; parity: of that with
    PyTorch."""

    folder: Path
    trial: int
    epoch: int
    validation_score: float | None
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
    confirmation: Confirmation | None = None,
    refitting: Callable[[], AbstractContextManager[Tell]] | None = None,
    prefer: Sequence[str] = (),
) -> Exported:
    """Write the best epoch of `study` to the folder `out`, which is then either a whole export or as it was before.

    cache: folder of decoded data sets. force: replace an earlier export in `out`. formats: the files that the model
    becomes, each measured on the test split. say: gets lines of progress. reread: reads the study anew; a search that
    still runs may have replaced the best weights since `study` was read. confirmation: export the configuration with
    the best mean of fresh runs among so many best ones of the search, by the weights of its best run; the study has the
    runs. prefer: which part of the front of several objectives, see `tuner.best.preferred`; `confirmation` has its
    own. refitting: train it once more on training and validation pictures, and show with this how far that is.
    An export that is killed leaves `out` as it was, or absent while it is replaced, and beside it a folder
    `.<name>.export-...`, which the next export names.

    Raises UsageError if `out` is a file, or a non-empty folder and not to be replaced; ExportError if the study has
    nothing to export, its data set changed, a file and PyTorch disagree, or `out` cannot be written; CheckpointError if
    the weights are missing or damaged; DataError for an unreadable data set.
    """
    target = Path(os.path.realpath(out))
    check_target(target, force)
    for left in sorted(target.parent.glob(f".{glob.escape(target.name)}{SCRATCH}*")):
        earlier = " (the export before it is in old/ there)" if (left / "old").exists() else ""
        say(f"{left} is of an export that was killed, or that still runs{earlier}: delete it if none does")
    if confirmation is not None:
        confirmation = confirmation.for_front(study)
    study, record, ref, trained = _read_best(study, reread, confirmation, prefer)
    trial = record.number
    so_far = ", the best so far of a search that still runs" if study.driver is not None else ""
    confirmed = "" if record.confirms is None else f", which confirms trial {record.confirms}"
    costs = f", {format_costs(record.costs)}" if record.costs else ""
    say(f"exporting trial {trial}, epoch {ref.epoch} ({study.spec.metric} {ref.score:.4f}{costs}){so_far}{confirmed}")
    if len(study.front) > 1 and not prefer and confirmation is None:
        say(f"note: it has the best {study.spec.metric} of {len(study.front)} on the front; --prefer picks another")
    if confirmation is None and ranking(study):
        say("note: it was chosen on one run; --confirm exports the winner of the runs that confirmed this study")
    info = _describe_unchanged(study.spec, cache)
    description, weights = trained.state, trained.group("model")
    scores = description.get("scores", {})
    how = _chosen_how(study, record, confirmation, prefer)
    refitted = refitting is not None
    if refitting is not None:
        with refitting() as tell:
            again = refit(study, record, ref, cache, say, tell)
        description, weights = again.description, again.weights
        how["refit"] = again.facts
    test = load_test_split(study.spec.data, cache)
    images, labels = test.images, test.labels
    left_out = no_pictures(test.skipped, test.others)
    if left_out:
        say(f"left out of the test split: {left_out}")

    build = _own_function(study.spec)
    assert description["classes"] == list(info.classes)
    assert description["input"] == dict(zip(("height", "width", "channels"), images.shape[1:], strict=True))
    try:
        with replacing(target, force) as folder:
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
                "loss": cross_entropy(labels, probabilities),
                "validation": {
                    "score": None if refitted else ref.score,
                    "epoch": ref.epoch,
                    "trial": trial,
                    "metric": study.spec.metric,
                    "scores": known_scores({**scores, study.spec.metric: ref.score}) if refitting is None else {},
                },
                "file": file,
                "parity": models[file]["parity"],
                "models": models,
                "machine": machine(),
                "test_size": len(images),
                "test_files_left_out": len(test.skipped),
                "test_source": info.test_source,
                **how,
                "sha256": {**{name: entry["sha256"] for name, entry in models.items()}, "checkpoint": ref.sha256},
            }
            write_texts(folder, study, info, description, metrics)
            write_provenance(folder, {**provenance(study, trial, ref, info, description), **how})
            if "onnx" in formats.names:
                write_predictor(folder)
    except OSError as error:
        raise ExportError(f"cannot write the export to {out}: {error.strerror or error}") from error
    score, parity = metrics["validation"]["score"], Parity(**metrics["parity"])
    return Exported(out, trial, ref.epoch, score, metrics["accuracy"], metrics["f1"], file, parity)


def _select(
    study: Study, confirmation: Confirmation | None, prefer: Sequence[str]
) -> tuple[TrialRecord, CheckpointRef]:
    """The trial to export and the checkpoint of its best weights."""
    name = study.spec.name
    if confirmation is not None:
        ranked = ranking(study, confirmation)
        record = ranked[0].best_run(study.spec.direction) if ranked else None
    else:
        best = preferred(study, prefer)[0] if prefer else study.best
        record = None if best is None else next(trial for trial in study.trials if trial.number == best.trial)
    if record is None:
        advice = {
            "running": "wait for its first checkpoint",
            "stopped": f"go on with: tuner resume {name}",
            "complete": f"no trial ended well, see: tuner trials {name}",
        }
        raise ExportError(f"study {name} has no trained weights to export: {advice[study.state]}")
    assert record.best_checkpoint is not None, "the best is chosen among trials that have a checkpoint"
    ref = CheckpointRef.from_dict(record.best_checkpoint)
    if (ref.epoch, ref.score) not in record.values:
        raise ExportError(
            f"the weights kept of trial {record.number} of study {name} claim score {ref.score} at epoch {ref.epoch}, "
            f"which the trial never reported: they cannot be trusted, search again"
        )
    return record, ref


def _chosen_how(
    study: Study, record: TrialRecord, confirmation: Confirmation | None, prefer: Sequence[str]
) -> dict[str, Any]:
    """What metrics and provenance say of how the winner was chosen: `confirmation` if runs confirmed it, `front` if
    there were several objectives."""
    how: dict[str, Any] = {}
    if confirmation is not None:
        ranked = [one.as_dict() for one in ranking(study, confirmation)]
        weights = "the run of the winner with the best validation score"
        how["confirmation"] = {"winner": ranked[0]["trial"], "weights": weights, "ranking": ranked}
        prefer = confirmation.prefer
    if study.spec.costs:
        front = [{"trial": one.trial, "score": one.value, "costs": one.costs} for one in study.front]
        how["front"] = {"prefer": list(prefer), "costs": record.costs, "trials": front}
    return how


def _read_best(
    study: Study, reread: Callable[[], Study] | None, confirmation: Confirmation | None, prefer: Sequence[str]
) -> tuple[Study, TrialRecord, CheckpointRef, checkpoint.Checkpoint]:
    """The study as it was when its best checkpoint was read and found whole, the trial, and the checkpoint."""
    for _ in range(_REREADS):
        trial, ref = _select(study, confirmation, prefer)
        try:
            return study, trial, ref, checkpoint.read(ref)
        except CheckpointError as error:
            newer = reread() if reread is not None else study
            again, newer_ref = _select(newer, confirmation, prefer)
            # A file goes only after the journal has named its successor: if it names the same one, that one is damaged.
            if (again.number, newer_ref) == (trial.number, ref):
                raise CheckpointError(
                    f"{error}; to export trial {trial.number}, put that file back as the search wrote it, or search "
                    "again"
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


def _own_function(spec: StudySpec) -> BuildFunction | None:
    """The user's function that builds the study's network; None if the network is another one."""
    if spec.model is None or not spec.model.own:
        return None
    network = open_network(spec.model, model_folder(spec.storage, spec.name))
    assert isinstance(network, OwnNetwork)
    return network.function
