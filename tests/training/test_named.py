from __future__ import annotations

import importlib.util
import socket
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision.datasets
from sklearn.datasets import load_digits

from tuner.errors import DataError
from tuner.training.named import Arrays, NamedSource

DIGITS_KEY = "d33d796cea4e78c0d90f5b54b3e203b1b95d674e004a2fddb4a8abb69d65d7e1"


def test_the_digits_are_those_of_scikit_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = NamedSource("digits", tmp_path)
    from_file = [source.load(train=train) for train in (True, False)]
    assert sorted(Counter(np.concatenate([side.labels for side in from_file])).values()) == sorted(
        Counter(load_digits().target).values()
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    by_library = [source.load(train=train) for train in (True, False)]
    assert all(_same(one, other) for one, other in zip(from_file, by_library, strict=True))


def test_the_digits_are_split_once_and_for_ever(tmp_path: Path) -> None:
    source = NamedSource("digits", tmp_path)
    train, test = source.load(train=True), source.load(train=False)
    assert (train.images.shape, test.images.shape) == ((1438, 8, 8, 1), (359, 8, 8, 1))
    assert train.classes == tuple("0123456789")
    assert int(train.images.max()) == 255
    everything = {image.tobytes() for image in train.images}
    assert not everything & {image.tobytes() for image in test.images}
    assert source.files_key() == DIGITS_KEY


def _no_network(**_: object) -> None:
    raise URLError(OSError("Name or service not known"))


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100", "svhn"])
def test_without_a_network_one_line_says_where_to_put_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    kind = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "svhn": "SVHN"}.get(name, name.upper())
    monkeypatch.setattr(torchvision.datasets, kind, _no_network)
    with pytest.raises(DataError) as caught:
        NamedSource(name, tmp_path).load(train=True)
    message = str(caught.value)
    assert f"{tmp_path / name}/train/<class>/" in message
    assert "digits, which needs no download" in message
    assert "\n" not in message


def test_the_network_may_take_seconds_only_while_downloading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float | None] = []

    def note(**_: object) -> None:
        limits.append(socket.getdefaulttimeout())
        raise RuntimeError("Error downloading train-images")

    monkeypatch.setattr(torchvision.datasets, "MNIST", note)
    before = socket.getdefaulttimeout()
    with pytest.raises(DataError, match="Error downloading"):
        NamedSource("mnist", tmp_path).load(train=True)
    assert limits[0] is not None
    assert limits[0] <= 15
    assert socket.getdefaulttimeout() == before


def _same(found: Arrays, expected: Arrays) -> bool:
    return (
        np.array_equal(found.images, expected.images)
        and np.array_equal(found.labels, expected.labels)
        and found.labels.dtype == np.int64
        and found.classes == expected.classes
    )


def test_the_layouts_of_torchvision_become_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    grey = images[..., :1]
    digits = tuple("0123456789")
    layouts = {
        "MNIST": SimpleNamespace(data=torch.tensor(grey[..., 0]), targets=torch.tensor([1, 0]), classes=["0 - zero"]),
        "CIFAR10": SimpleNamespace(data=images, targets=[1, 0], classes=["airplane", "automobile"]),
        "SVHN": SimpleNamespace(data=images.transpose(0, 3, 1, 2), labels=np.array([1, 0], np.uint8)),
    }
    asked: list[dict[str, object]] = []

    def opener(layout: SimpleNamespace):
        def open_(**options: object) -> SimpleNamespace:
            asked.append(options)
            return layout

        return open_

    for kind, layout in layouts.items():
        monkeypatch.setattr(torchvision.datasets, kind, opener(layout))
    labels = np.array([1, 0])
    assert _same(NamedSource("mnist", tmp_path).load(train=True), Arrays(grey, labels, digits))
    assert _same(NamedSource("cifar10", tmp_path).load(train=False), Arrays(images, labels, ("airplane", "automobile")))
    assert _same(NamedSource("svhn", tmp_path).load(train=True), Arrays(images, labels, digits))
    common = {"root": str(tmp_path), "download": True}
    assert asked == [{**common, "train": True}, {**common, "train": False}, {**common, "split": "train"}]


def test_each_download_has_a_key_of_its_own_that_needs_no_file(tmp_path: Path) -> None:
    names = ("mnist", "fashion_mnist", "cifar10", "cifar100", "svhn")
    assert len({NamedSource(name, tmp_path).files_key() for name in names}) == 5
    assert not any(tmp_path.iterdir())
