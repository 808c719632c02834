"""What is wrong with a data set: files that are no pictures, the same picture in two splits or under two labels, ...

The same picture: the same pixels once decoded, resized and cropped, as the network sees them. Opens test pictures, so
no search calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import DataError
from tuner.training.cache import CachedData, open_cached, silent
from tuner.training.dataspec import DataSpec
from tuner.training.decoding import Tell, pixel_digest
from tuner.training.files import FileSource
from tuner.training.remarks import about_balance, has, plural, shown
from tuner.training.sources import open_source
from tuner.training.testsplit import DecodedTest, load_test_split

_SPLITS = ("training", "validation", "test")


@dataclass(frozen=True)
class Finding:
    """One thing that somebody should know. kind: `unusable`, `unreadable`, `not_a_picture`, `leak`, `two_labels`,
    `copies` or `unbalanced`; wrong: whether it should be mended before a search; count: of pictures or files; files:
    those that the finding is about, or for copies an example pair."""

    kind: str
    wrong: bool
    count: int
    text: str
    files: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"kind": self.kind, "wrong": self.wrong, "count": self.count, "text": self.text, "files": [*self.files]}


@dataclass(frozen=True)
class _Pictures:
    """All pictures of all splits: digests uint64 N, labels int64 N, splits int64 N (places in `_SPLITS`)."""

    digests: NDArray[np.uint64]
    labels: NDArray[np.int64]
    splits: NDArray[np.int64]
    name: Callable[[int], str]


def check(spec: DataSpec, cache_dir: Path, tell: Tell = silent) -> list[Finding]:
    """Everything that is found, what is wrong first; decodes the data set if need be. Raises UsageError if there is no
    such data set."""
    try:
        source = open_source(spec)
        cached = open_cached(spec, cache_dir, tell)
    except DataError as error:
        return [Finding("unusable", True, 1, str(error))]
    findings, test = [], None
    try:
        test = load_test_split(spec, cache_dir, tell)
    except DataError as error:
        findings.append(Finding("unusable", True, 1, f"the test split: {error}"))
    findings += _about_files(cached, test)
    paths: tuple[str, ...] = ()
    if isinstance(source, FileSource):
        skipped = {path for path, _ in cached.skipped}
        paths = tuple(picture.path for picture in source.training_side if picture.path not in skipped)
    findings += _about_copies(_together(spec, cached, paths, test))
    train, _ = cached.split(spec)
    counts = np.bincount(cached.labels[train], minlength=len(cached.classes)).tolist()
    balance = about_balance(cached.classes, counts)
    if balance:
        findings.append(Finding("unbalanced", False, min(counts), balance))
    return sorted(findings, key=lambda finding: not finding.wrong)


def _about_files(cached: CachedData, test: DecodedTest | None) -> list[Finding]:
    findings = []
    skipped = [*cached.skipped, *(test.skipped if test else ())]
    if skipped:
        text = f"{plural(len(skipped), 'file')} cannot be read as a picture: left out"
        files = tuple(f"{shown(path)} ({reason})" for path, reason in skipped)
        findings.append(Finding("unreadable", True, len(skipped), text, files))
    others = [shown(path) for path in (*cached.others, *(test.others if test else ()))]
    if others:
        text = f"{plural(len(others), 'file')} beside the pictures {has(len(others))} no name of a picture: left out"
        findings.append(Finding("not_a_picture", True, len(others), text, tuple(others)))
    return findings


def _together(spec: DataSpec, cached: CachedData, paths: Sequence[str], test: DecodedTest | None) -> _Pictures:
    splits = np.zeros(len(cached.labels), np.int64)
    splits[cached.split(spec)[1]] = _SPLITS.index("validation")
    digests, labels = cached.digests, cached.labels
    test_paths: tuple[str, ...] = ()
    if test is not None:
        of_test = np.array([pixel_digest(picture.tobytes()) for picture in test.images], np.uint64)
        digests, labels = np.concatenate([digests, of_test]), np.concatenate([labels, test.labels])
        splits = np.concatenate([splits, np.full(len(of_test), _SPLITS.index("test"))])
        test_paths = test.paths
    known = (*paths, *test_paths)

    def name(index: int) -> str:
        if known:
            return shown(known[index])
        side = index if index < len(cached.labels) else index - len(cached.labels)
        return f"picture {side} of the {'training side' if index < len(cached.labels) else 'test split'}"

    return _Pictures(digests, labels, splits, name)


def _about_copies(pictures: _Pictures) -> list[Finding]:
    findings = []
    for first, second in ((0, 1), (0, 2), (1, 2)):
        earlier, later = (np.flatnonzero(pictures.splits == split) for split in (first, second))
        leaked = later[np.isin(pictures.digests[later], pictures.digests[earlier])]
        if len(leaked):
            twin = earlier[pictures.digests[earlier] == pictures.digests[leaked[0]]][0]
            pair = (pictures.name(leaked[0]), pictures.name(twin))
            text = (
                f"leak: {len(leaked):,} of {plural(len(later), f'{_SPLITS[second]} picture')} "
                f"{has(len(leaked))} the same pixels as a {_SPLITS[first]} picture, such as {pair[0]} and {pair[1]}"
            )
            findings.append(Finding("leak", True, len(leaked), text, pair))
    group, twins = _first_alike(pictures.digests)
    mislabelled = np.flatnonzero(pictures.labels != pictures.labels[twins])
    if len(mislabelled):
        pair = (pictures.name(mislabelled[0]), pictures.name(twins[mislabelled[0]]))
        text = (
            f"{plural(len(mislabelled), 'picture')} {has(len(mislabelled))} the same pixels as one of another class, "
            f"such as {pair[0]} and {pair[1]}"
        )
        findings.append(Finding("two_labels", True, len(mislabelled), text, pair))
    _, twins = _first_alike(group * len(_SPLITS) + pictures.splits)
    copies = np.flatnonzero(twins != np.arange(len(twins)))
    if len(copies):
        pair = (pictures.name(copies[0]), pictures.name(twins[copies[0]]))
        text = (
            f"{plural(len(copies), 'picture')} {has(len(copies))} the same pixels as another one of the same split, "
            f"such as {pair[0]} and {pair[1]}"
        )
        findings.append(Finding("copies", False, len(copies), text, pair))
    return findings


def _first_alike(values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each of `values` the number of its group of equal ones, and the index of the first of that group."""
    _, first, group = np.unique(values, return_index=True, return_inverse=True)
    return group, first[group]
