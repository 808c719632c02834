"""Say what is in pictures, by an exported model: its most probable classes and their probabilities.

    pip install -r requirements.txt
    python predict.py FILE_OR_FOLDER... [--top K] [--json] [--model FILE]

Pictures may have any size, mode and format that Pillow reads. In folders, and those below, files are taken whose names
end as those of pictures do. A file that is no picture is named on standard error, and the exit code is then 1.

Shapes: N pictures, H = W = side in pixels, C channels (1 grey, 3 RGB), K classes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tuner.training.pixels import SUFFIXES, Broken, decode_bytes

BATCH = 64


class ModelError(Exception):
    """There is no exported model in a file; the text is one line for the user."""


class Prediction(NamedTuple):
    """What the model says of one picture: float32 K; or, where it could not be read, None and the reason."""

    path: Path
    probabilities: NDArray[np.float32] | None
    error: str = ""


class Classifier:
    """A model as `tuner export-best` writes it, under onnxruntime.

    classes: K names in the order of the probabilities. metadata: all that the file says of itself.
    """

    def __init__(self, path: Path) -> None:
        """Read the ONNX file `path`. Raises ModelError if it holds no such model."""
        if not path.is_file():
            raise ModelError(f"there is no file {path}")
        try:
            self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
            self.classes: list[str] = json.loads(self.metadata["classes"])
            (images,) = self._session.get_inputs()
            _, self.side, _, self.channels = images.shape
        except Exception as error:  # onnxruntime has a class of its own for each thing that is wrong
            raise ModelError(f"{path} is no model that tuner exported ({str(error).splitlines()[0][:200]})") from error

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities, N x K, of decoded pictures, N x H x W x C."""
        probabilities: NDArray[np.float32] = self._session.run(["probabilities"], {"images": images})[0]
        return probabilities

    def predict(self, paths: Sequence[Path]) -> Iterator[Prediction]:
        """What the model says of the picture files `paths`, in their order; `BATCH` of them are in memory at once."""
        with ThreadPoolExecutor() as pool, warnings.catch_warnings():
            # Of odd EXIF data and large pictures, which are read all the same.
            warnings.filterwarnings("ignore", module=r"PIL\b")
            for start in range(0, len(paths), BATCH):
                some = paths[start : start + BATCH]
                decoded = list(pool.map(self._decode, some))
                whole = [image for image in decoded if not isinstance(image, str)]
                rows = iter(self.run(np.stack(whole)) if whole else ())
                for path, image in zip(some, decoded, strict=True):
                    yield Prediction(path, None, image) if isinstance(image, str) else Prediction(path, next(rows))

    def _decode(self, path: Path) -> NDArray[np.uint8] | str:
        """The picture, or why there is none."""
        try:
            return decode_bytes(path.read_bytes(), self.side, self.channels)
        except Broken as error:
            return str(error)
        except OSError as error:
            return error.strerror or str(error)


def list_pictures(paths: Sequence[Path]) -> list[Path]:
    """`paths`, with the pictures in a folder instead of the folder, sorted; hidden files are none of them."""
    found = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
        for parent, folders, files in os.walk(path, followlinks=True):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            names = sorted(name for name in files if not name.startswith("."))
            found += [Path(parent, name) for name in names if Path(name).suffix.lower() in SUFFIXES]
    return found


def top(probabilities: NDArray[np.float32], classes: Sequence[str], count: int) -> list[dict[str, Any]]:
    """The `count` most probable of K classes, as `{"class", "probability"}`; of equal ones the first."""
    order = np.argsort(-probabilities, kind="stable")[:count]
    return [{"class": classes[index], "probability": float(probabilities[index])} for index in order]


def answer(classifier: Classifier, paths: Sequence[Path], count: int, *, as_json: bool) -> bool:
    """Print what is in the pictures `paths`, files or folders, with `count` classes each. Returns whether all was
    read."""
    pictures = list_pictures(paths)
    if not pictures:
        sys.stderr.write(f"error: there are no pictures in {printable(', '.join(map(str, paths)))}\n")
    failed = not pictures
    entries: list[dict[str, Any]] = []
    for path, probabilities, error in classifier.predict(pictures):
        if probabilities is None:
            failed = True
            entries.append({"file": str(path), "error": error})
            sys.stderr.write(f"error: {printable(str(path))}: {printable(error)}\n")
            continue
        best = top(probabilities, classifier.classes, count)
        if as_json:
            entries.append({"file": str(path), "predictions": best})
        else:
            words = (f"{printable(one['class'])} {one['probability']:.4f}" for one in best)
            sys.stdout.write(f"{printable(str(path))}: {', '.join(words)}\n")
    if as_json:
        sys.stdout.write(json.dumps(entries, indent=2) + "\n")
    return not failed


def printable(text: str) -> str:
    """A name as it may go to a terminal: somebody else chose its bytes."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def main() -> int:
    """The program; gives its exit code."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("paths", nargs="+", type=Path, metavar="FILE_OR_FOLDER")
    parser.add_argument("--top", type=int, default=3, metavar="K", help="classes a picture (default 3)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--model",
        type=Path,
        default=Path(__file__).with_name("model.onnx"),
        help="default: model.onnx beside this file",
    )
    given = parser.parse_args()
    if given.top < 1:
        parser.error(f"argument --top: {given.top} is too small: it must be at least 1")
    try:
        classifier = Classifier(given.model)
    except ModelError as error:
        parser.exit(1, f"error: {error}\n")
    return 0 if answer(classifier, given.paths, given.top, as_json=given.json) else 1


if __name__ == "__main__":
    sys.exit(main())
