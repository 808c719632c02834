"""Stratified splits that stay the same for ever: both ways of choosing are independent of library versions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def stratified_indices(
    labels: NDArray[np.int64], fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split 0..len(labels)-1 into (kept, held out), both sorted, holding out `fraction` of each class.

    At least one of each class is held out and, where it has two, at least one is kept.
    """
    # NumPy promises that RandomState's stream never changes; a Generator's may, and with it everybody's test split.
    rng = np.random.RandomState(seed)
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        held[rng.permutation(members)[: _held_count(len(members), fraction)]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def held_out_names(names: Sequence[str], fraction: float) -> frozenset[str]:
    """The `fraction` of the `names` of one class with the lowest SHA-256.

    The choice hangs on each name alone, so that a picture added later moves at most one other across.
    """
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest())
    return frozenset(ranked[: _held_count(len(names), fraction)])


def _held_count(count: int, fraction: float) -> int:
    return min(max(1, round(count * fraction)), max(1, count - 1))
