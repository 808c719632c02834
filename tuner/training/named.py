"""The data sets with a name of their own: scikit-learn's digits, and torchvision's downloads.

Shapes: N pictures, H height and W width in pixels, C channels.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuner.errors import DataError
from tuner.training.locking import beating, file_lock
from tuner.training.splits import stratified_indices

KEEP_ON_FLIP = {
    "digits": False,
    "mnist": False,
    "svhn": False,
    "fashion_mnist": True,
    "cifar10": True,
    "cifar100": True,
}
"""Whether a horizontal flip keeps the class."""

_DIGITS_TEST_FRACTION = 0.2
_DIGITS_TEST_SEED = 0
_NETWORK_TIMEOUT_S = 10.0
_TORCHVISION = {
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "svhn": "SVHN",
}


class Arrays(NamedTuple):
    """One side of a data set: images uint8 N x H x W x C, labels int64 N, class names in the order of labels."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class NamedSource:
    """A named data set as arrays; `data_dir` is where torchvision keeps its downloads."""

    name: str
    data_dir: Path

    @property
    def test_source(self) -> str:
        """Where the test split comes from, in words."""
        if self.name == "digits":
            return f"a fixed stratified {_DIGITS_TEST_FRACTION:.0%} of scikit-learn's digits"
        return f"the test split of {_TORCHVISION[self.name]} as torchvision gives it"

    def files_key(self) -> str:
        """SHA-256 of the checksums that torchvision checks its files by, or of the digits themselves."""
        if self.name == "digits":
            images, labels, _ = _load_digits(train=True)
            return hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
        kind = _torchvision_class(self.name)
        checksums = (
            kind.resources if "mnist" in self.name else kind.split_list if self.name == "svhn" else kind.train_list
        )
        return hashlib.sha256(json.dumps([self.name, checksums]).encode()).hexdigest()

    def load(self, *, train: bool) -> Arrays:
        """Load one side, downloading the data set first if it is not in `data_dir`.

        Raises DataError if it can be neither read nor downloaded; that takes seconds, not minutes.
        """
        if self.name == "digits":
            return _load_digits(train=train)
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            lock = file_lock(self.data_dir / f".{self.name}.lock", f"downloading {self.name}")
            with lock as progress, beating(progress), _impatient_network():
                data = _open_torchvision(self.name, self.data_dir, train)
        # torchvision raises RuntimeError for a bad checksum and when all mirrors failed; URLError is an OSError.
        except (OSError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(
                f"cannot get {self.name} ({reason}): put pictures into {self.data_dir / self.name}/train/<class>/ "
                f"(and test/<class>/), or use the data set digits, which needs no download"
            ) from error
        return _arrays(self.name, data)


def _load_digits(*, train: bool) -> Arrays:
    table = _digits_table()
    labels = table[:, -1].astype(np.int64)
    images = np.rint(table[:, :-1].reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    kept, held = stratified_indices(labels, _DIGITS_TEST_FRACTION, _DIGITS_TEST_SEED)
    side = kept if train else held
    return Arrays(images[side], labels[side], tuple(str(digit) for digit in range(10)))


def _digits_table() -> NDArray[np.float64]:
    """N x 65: the pixels of 8 x 8, 0 to 16, and the digit."""
    # Importing scikit-learn takes more than a second, of the driver and of each worker; its file is all that is needed.
    package = importlib.util.find_spec("sklearn")
    for place in (package and package.submodule_search_locations) or []:
        file = Path(place, "datasets", "data", "digits.csv.gz")
        if file.is_file():
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target])


def _torchvision_class(name: str) -> Any:
    import torchvision.datasets

    return getattr(torchvision.datasets, _TORCHVISION[name])


def _open_torchvision(name: str, root: Path, train: bool) -> Any:
    kind = _torchvision_class(name)
    side = {"split": "train" if train else "test"} if name == "svhn" else {"train": train}
    return kind(root=str(root), download=True, **side)


def _arrays(name: str, data: Any) -> Arrays:
    if name == "svhn":
        images = np.ascontiguousarray(data.data.transpose(0, 2, 3, 1))
        return Arrays(images, np.asarray(data.labels, np.int64), tuple(str(digit) for digit in range(10)))
    # torchvision's own names for mnist's classes are "0 - zero" and so on.
    classes = tuple(str(digit) for digit in range(10)) if name == "mnist" else tuple(data.classes)
    if "mnist" in name:
        return Arrays(data.data.numpy()[..., np.newaxis], data.targets.numpy().astype(np.int64), classes)
    return Arrays(data.data, np.asarray(data.targets, np.int64), classes)


@contextmanager
def _impatient_network() -> Iterator[None]:
    """torchvision sets no time limit: behind a firewall that drops packets each mirror would take minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_NETWORK_TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
