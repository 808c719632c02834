"""Each exported file against the trained network: on the whole test split, and against the clock.

Shapes: N pictures, K classes.
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tuner.bundle.formats import Formats, Variant
from tuner.bundle.writing import Run, open_variant, pytorch_run
from tuner.errors import ExportError
from tuner.training.own_model import BuildFunction

TOLERANCE = 1e-4
# Larger ones were slower on CPUs, and take memory in proportion.
_BATCH = 128
LATENCY_BATCHES = (1, 64)
_WARM_UPS = 2
_RUNS, _FEWEST_RUNS, _SECONDS = 200, 5, 1.0


@dataclass(frozen=True)
class Parity:
    """How well an exported file and PyTorch agree on the test split.

    max_abs_difference: of any probability. images: pictures compared. differing_argmax: pictures that get another
    class; at most those whose two best classes are `tolerance` or less apart. tolerance: what is allowed.
    """

    max_abs_difference: float
    images: int
    differing_argmax: int
    tolerance: float = TOLERANCE


def run_all(run: Run, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities, N x K, of all `images`, batch by batch."""
    return np.concatenate([run(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)])


def compare(file: str, found: NDArray[np.float32], pytorch: NDArray[np.float32]) -> Parity:
    """Compare probabilities (both N x K). Raises ExportError if they differ by more than the tolerance."""
    difference = float(np.abs(found - pytorch).max())
    chosen, expected = found.argmax(axis=1), pytorch.argmax(axis=1)
    rows = np.arange(len(pytorch))
    lead = pytorch[rows, expected] - pytorch[rows, chosen]
    other_class = int((lead > TOLERANCE).sum())
    # Not "difference > TOLERANCE", which is False for NaN.
    if not difference <= TOLERANCE or other_class:
        raise ExportError(
            f"{file} and PyTorch disagree on the test split, so nothing was written: probabilities differ by up "
            f"to {difference:.1e} (allowed are {TOLERANCE:g}), {other_class} of {len(rows)} pictures get another "
            f"class; try other versions of torch, onnxscript and onnxruntime"
        )
    return Parity(difference, len(rows), int((chosen != expected).sum()))


def measure(
    folder: Path,
    formats: Formats,
    build: BuildFunction | None,
    classifier: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    say: Callable[[str], None],
) -> tuple[dict[str, dict[str, Any]], NDArray[np.float32]]:
    """Run each file of `formats` in `folder` on the test split, `images` and `labels`.

    build: of a network of the user's own. classifier: the trained network, which they are compared with. Returns what
    `metrics.json` says of each, and the probabilities, N x K, of the first. Raises ExportError as `check` does.
    """
    files = ", ".join(variant.file for variant in formats.variants)
    say(f"comparing {files} with PyTorch on {len(images)} test pictures")
    pytorch = run_all(pytorch_run(classifier), images)
    found: list[NDArray[np.float32]] = []
    models = {}
    for variant in formats.variants:
        run = open_variant(folder, variant, build)
        found.append(run_all(run, images))
        entry = check(folder / variant.file, variant, found[-1], pytorch, labels, formats.max_drop)
        timed = open_variant(folder, variant, build, threads=1) if variant.format == "onnx" else run
        models[variant.file] = {**entry, "latency": latency(timed, images)}
        say(_line(variant.file, models[variant.file]))
    return models, found[0]


def check(
    path: Path,
    variant: Variant,
    found: NDArray[np.float32],
    pytorch: NDArray[np.float32],
    labels: NDArray[np.int64],
    max_drop: float,
) -> dict[str, Any]:
    """What `metrics.json` says of one file, without its latency; `found` and `pytorch` are N x K, `labels` N.

    A file in fp32 must agree with PyTorch as `compare` says; one of less precision may lose `max_drop` points of
    accuracy. Raises ExportError.
    """
    before, after = _accuracy(pytorch, labels), _accuracy(found, labels)
    if variant.precision == "fp32":
        agreement = asdict(compare(path.name, found, pytorch))
    else:
        drop = 100 * (before - after)
        if not np.isfinite(found).all():
            raise ExportError(
                f"{path.name} gives probabilities that are no numbers, so nothing was written: leave it out"
            )
        # A hundredth of a picture of a million is below what binary fractions of a point can tell apart.
        if drop > max_drop + 1e-6:
            raise ExportError(
                f"{path.name} has accuracy {after:.4f} on the test split where PyTorch has {before:.4f}, {drop:.2f} "
                f"points less, so nothing was written: leave it out, or allow that with --max-drop"
            )
        agreement = {
            "max_abs_difference": float(np.abs(found - pytorch).max()),
            "images": len(labels),
            "differing_argmax": int((found.argmax(axis=1) != pytorch.argmax(axis=1)).sum()),
        }
    content = path.read_bytes()
    return {
        "format": variant.format,
        "precision": variant.precision,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "accuracy_pytorch": before,
        "accuracy": after,
        "parity": agreement,
    }


def latency(run: Run, images: NDArray[np.uint8]) -> dict[str, dict[str, float]]:
    """How long a call takes on one core of this machine: batch size -> median_ms, p99_ms. `images`: where batches are
    taken from. `run` must use one thread, unless it is of PyTorch.

    200 calls, or as many as a second allows (5 at least), after 2 that do not count. One core, for a machine that has
    other work to do makes the threads of one picture wait for each other: 220 ms instead of 0.9 were seen.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {str(size): _timed(run, np.resize(images, (size, *images.shape[1:]))) for size in LATENCY_BATCHES}
    finally:
        torch.set_num_threads(before)


def _timed(run: Run, batch: NDArray[np.uint8]) -> dict[str, float]:
    for _ in range(_WARM_UPS):
        run(batch)
    seconds: list[float] = []
    end_s = time.perf_counter() + _SECONDS
    while len(seconds) < _RUNS and (len(seconds) < _FEWEST_RUNS or time.perf_counter() < end_s):
        start_s = time.perf_counter()
        run(batch)
        seconds.append(time.perf_counter() - start_s)
    median, p99 = np.percentile(seconds, (50, 99))
    return {"median_ms": round(1e3 * float(median), 4), "p99_ms": round(1e3 * float(p99), 4)}


def machine() -> dict[str, Any]:
    """What latencies were measured on: cpu, a name; threads, how many each used."""
    return {"cpu": _cpu_name(), "threads": 1}


def _line(file: str, entry: Mapping[str, Any]) -> str:
    speeds = [f"{times['median_ms']:.3g} ms for {size}" for size, times in entry["latency"].items()]
    return (
        f"{file}: accuracy {entry['accuracy']:.4f} (PyTorch {entry['accuracy_pytorch']:.4f}), "
        f"{entry['bytes'] / 1e6:.3g} MB, {', '.join(speeds)}"
    )


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def _accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())
