"""The exported model of a study as a report shows it: its figures, and the pictures that it gets wrong.

Shapes: N pictures, C channels, H height and W width in pixels, K classes.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tuner.errors import TunerError, UsageError
from tuner.exported_model import PictureClassifier, load_exported
from tuner.spec import StudySpec
from tuner.study import Study
from tuner.training.cache import describe
from tuner.training.gradcam import grad_cam
from tuner.training.testsplit import load_test_split

MISTAKES, EXPLAINED = 24, 12
"""So many pictures are shown that the model gets wrong, and Grad-CAM over so many of them."""

_METRICS_FILE = "metrics.json"
_BATCH = 128
_SIDE = 112  # pixels of a picture under Grad-CAM
_LARGEST = 160
# Dark where nothing was found, through violet and orange to a light yellow.
_HEAT = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float32)


@dataclass(frozen=True)
class Mistake:
    """A test picture that the model gets wrong.

    path: below the data set's folder, empty where it has no files. confidence: probability of `predicted`, in_truth:
    of `true`. picture, heat: PNG as data URIs; heat is the picture under Grad-CAM of `predicted`, empty for the rest.
    """

    true: str
    predicted: str
    confidence: float
    in_truth: float
    path: str
    picture: str
    heat: str


@dataclass(frozen=True)
class ExportedModel:
    """An export of a study. metrics: its metrics.json. note: why no mistakes can be shown, empty if they can."""

    folder: Path
    metrics: dict[str, Any]
    mistakes: tuple[Mistake, ...] = ()
    wrong: int = 0
    note: str = ""

    @property
    def classes(self) -> list[str]:
        """In the order of the confusion matrix."""
        return list(self.metrics["per_class"])


def find_export(study: Study, folder: Path | None, cache: Path) -> ExportedModel | None:
    """The export of `study` in `folder`; by default in NAME-best below the current one, if there is one.

    cache: folder of decoded data sets. Raises UsageError if `folder` is given and is no export of this study.
    """
    place = Path(f"{study.spec.name}-best") if folder is None else folder
    try:
        metrics = read_metrics(study, place)
    except UsageError:
        if folder is None:
            return None
        raise
    try:
        mistakes, wrong = _mistakes(study.spec, place, cache)
    except TunerError as error:
        return ExportedModel(place, metrics, note=str(error))
    return ExportedModel(place, metrics, mistakes, wrong)


def read_metrics(study: Study, folder: Path) -> dict[str, Any]:
    """The figures of an export, which must be of a trial of this study. Raises UsageError."""
    path = folder / _METRICS_FILE
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
        exported = metrics["sha256"]["checkpoint"]
        trial = metrics["validation"]["trial"]
        complete = len(metrics["confusion_matrix"]) == len(metrics["per_class"]) and isinstance(trial, int)
    except OSError as error:
        raise UsageError(f"{folder} holds no exported model: {error.strerror} ({path})") from None
    except (ValueError, KeyError, TypeError):
        complete = False
    if not complete:
        raise UsageError(f"{path} is not the metrics of an exported model: export it again")
    scores = [(record.number, epoch, score) for record in study.trials for epoch, score in record.values]
    known = {(record.best_checkpoint or {}).get("sha256") for record in study.trials}
    # The study may have found better weights since.
    validation = metrics["validation"]
    score = metrics["refit"]["score_of_that_run"] if "refit" in metrics else validation.get("score")
    if exported not in known and (trial, validation.get("epoch"), score) not in scores:
        raise UsageError(f"the model in {folder} is not of study {study.spec.name}: give another --bundle")
    return metrics


def _mistakes(spec: StudySpec, folder: Path, cache: Path) -> tuple[tuple[Mistake, ...], int]:
    """The mistakes on the test split with the highest confidence first, and how many there are in all."""
    classifier = load_exported(folder)
    info = describe(spec.data, cache)
    if info.fingerprint != spec.data_fingerprint:
        raise UsageError("the data set is not the one that the study was created with: its pictures are not shown")
    test = load_test_split(spec.data, cache)
    probabilities = _probabilities(classifier, test.images)
    chosen = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(chosen != test.labels)
    order = wrong[np.argsort(-probabilities[wrong, chosen[wrong]], kind="stable")][:MISTAKES]
    heats = _heats(classifier, test.images[order[:EXPLAINED]], chosen[order[:EXPLAINED]])
    mistakes = tuple(
        Mistake(
            true=info.classes[test.labels[index]],
            predicted=info.classes[chosen[index]],
            confidence=float(probabilities[index, chosen[index]]),
            in_truth=float(probabilities[index, test.labels[index]]),
            path=test.paths[index] if test.paths else "",
            picture=_png(_shrunk(_image(test.images[index]))),
            heat=_png(_under_heat(test.images[index], heats[place])) if place < len(heats) else "",
        )
        for place, index in enumerate(order)
    )
    return mistakes, len(wrong)


def _probabilities(classifier: PictureClassifier, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Of uint8 N x H x W x C; float32 N x K."""
    with torch.inference_mode():
        parts = [
            classifier(torch.from_numpy(np.ascontiguousarray(images[start : start + _BATCH]))).numpy()
            for start in range(0, len(images), _BATCH)
        ]
    return np.concatenate(parts)


def _heats(classifier: PictureClassifier, images: NDArray[np.uint8], classes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Grad-CAM of uint8 N x H x W x C for a class each; float32 N x H x W, none of a network without convolution."""
    if not len(images):
        return np.zeros((0, 0, 0), np.float32)
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    normalised = (pixels - classifier.mean) / classifier.std
    try:
        return grad_cam(classifier.network, normalised, torch.from_numpy(classes)).numpy()
    except UsageError:
        return np.zeros((0, 0, 0), np.float32)


def _image(pixels: NDArray[np.uint8]) -> Image.Image:
    """Of H x W x C, as grey or RGB."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _shrunk(image: Image.Image) -> Image.Image:
    """Not larger than is shown; small pictures stay what they are, the page enlarges them."""
    scale = _LARGEST / max(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _under_heat(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> Image.Image:
    """A picture in grey under the colours of its heat map."""
    height, width = heat.shape
    scale = _SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resampling = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    grey = np.asarray(_image(pixels).convert("L").resize(size, resampling), np.float32)[:, :, None]
    warm = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR)).clip(0, 1)
    place = warm * (len(_HEAT) - 1)
    low = np.minimum(place.astype(np.int64), len(_HEAT) - 2)
    share = (place - low)[:, :, None]
    colours = _HEAT[low] * (1 - share) + _HEAT[low + 1] * share
    return Image.fromarray((0.5 * grey + 0.5 * colours).clip(0, 255).astype(np.uint8))


def _png(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
