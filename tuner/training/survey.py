"""What a data set consists of, without decoding it: classes, splits, sizes, colours, and what will be made of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tuner.training.cache import silent
from tuner.training.dataspec import DataSpec
from tuner.training.decoding import Tell
from tuner.training.files import FileSource
from tuner.training.named import NamedSource
from tuner.training.pictures import Header, choose_format
from tuner.training.reading import read_headers
from tuner.training.remarks import imbalance
from tuner.training.sources import open_source
from tuner.training.splits import stratified_indices
from tuner.training.testsplit import list_test


@dataclass(frozen=True)
class Survey:
    """All numbers are of pictures, sizes are (width, height) in pixels; those of test files are not looked at.

    classes: name -> {train, val, test}, in the order of the labels.
    val_source, test_source: where these splits come from, in words.
    smallest, largest: the sizes with the fewest and the most pixels.
    modes, formats: how many of each, in PIL's words; empty formats for arrays.
    turned: by their EXIF tag.
    height, width, channels: that the pictures are decoded to; resized: how many have another size.
    no_header: training files whose names are those of pictures and that are none; others: files of other names.
    balance: the largest class by the smallest.
    """

    dataset: str
    name: str
    classes: dict[str, dict[str, int]]
    val_source: str
    test_source: str
    smallest: tuple[int, int]
    largest: tuple[int, int]
    modes: dict[str, int]
    formats: dict[str, int]
    turned: int
    height: int
    width: int
    channels: int
    resized: int
    no_header: tuple[str, ...]
    others: tuple[str, ...]
    balance: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: classes as a list of {name, train, val, test}."""
        return asdict(self) | {"classes": [{"name": name, **counts} for name, counts in self.classes.items()]}

    def total(self, split: str) -> int:
        """Pictures of "train", "val" or "test"."""
        return sum(counts[split] for counts in self.classes.values())


def survey(spec: DataSpec, tell: Tell = silent) -> Survey:
    """Look at the data set; opens no test picture of files. Raises UsageError if there is no such data set, DataError
    if it cannot be used."""
    source = open_source(spec)
    return _of_arrays(spec, source) if isinstance(source, NamedSource) else _of_files(spec, source, tell)


def _of_files(spec: DataSpec, source: FileSource, tell: Tell) -> Survey:
    pictures = source.training_side
    headers: list[Header | None] = []
    for piece in read_headers([source.root / picture.path for picture in pictures]):
        headers += piece
        tell("reading the sizes", len(headers), len(pictures))
    known = [header for header in headers if header is not None]
    side, channels = choose_format(headers, spec.image_size)
    sizes = sorted({(header.width, header.height) for header in known}, key=lambda size: (size[0] * size[1], size))
    labels = [picture.label for picture in source.train]
    train, val, val_source = _held_out(spec, labels, [picture.label for picture in source.val])
    return Survey(
        dataset=spec.dataset,
        name=spec.default_name,
        classes=_counts(source.classes, train, val, [picture.label for picture in list_test(source).pictures]),
        val_source=val_source,
        test_source=source.test_source,
        smallest=sizes[0] if sizes else (0, 0),
        largest=sizes[-1] if sizes else (0, 0),
        modes=_by_number(header.mode for header in known),
        formats=_by_number(header.format for header in known),
        turned=sum(header.turned for header in known),
        height=side,
        width=side,
        channels=channels,
        resized=sum((header.width, header.height) != (side, side) for header in known),
        no_header=tuple(picture.path for picture, header in zip(pictures, headers, strict=True) if header is None),
        others=source.others,
        balance=_balance(source.classes, labels),
    )


def _of_arrays(spec: DataSpec, source: NamedSource) -> Survey:
    arrays, test = source.load(train=True), source.load(train=False)
    count, height, width, channels = arrays.images.shape
    side = spec.image_size or height
    labels = arrays.labels.tolist()
    train, val, val_source = _held_out(spec, labels, [])
    return Survey(
        dataset=spec.dataset,
        name=spec.default_name,
        classes=_counts(arrays.classes, train, val, test.labels.tolist()),
        val_source=val_source,
        test_source=source.test_source,
        smallest=(width, height),
        largest=(width, height),
        modes={"L" if channels == 1 else "RGB": count},
        formats={},
        turned=0,
        height=side,
        width=side,
        channels=channels,
        resized=0 if (height, width) == (side, side) else count,
        no_header=(),
        others=(),
        balance=_balance(arrays.classes, labels),
    )


def _held_out(spec: DataSpec, train: list[int], val: list[int]) -> tuple[list[int], list[int], str]:
    """Labels of training and validation pictures, and where the latter come from."""
    if val:
        return train, val, "the data set's own"
    labels = np.array(train, np.int64)
    kept, held = stratified_indices(labels, spec.val_fraction, spec.seed)
    words = f"{spec.val_fraction:.0%} of each class, held out of the training pictures by the seed"
    return labels[kept].tolist(), labels[held].tolist(), words


def _counts(classes: tuple[str, ...], train: list[int], val: list[int], test: list[int]) -> dict[str, dict[str, int]]:
    splits = {name: Counter(labels) for name, labels in (("train", train), ("val", val), ("test", test))}
    return {name: {split: counter[label] for split, counter in splits.items()} for label, name in enumerate(classes)}


def _balance(classes: tuple[str, ...], labels: list[int]) -> float:
    counts = Counter(labels)
    return imbalance([counts[label] for label in range(len(classes))])


def _by_number(words: Any) -> dict[str, int]:
    return dict(Counter(words).most_common())
