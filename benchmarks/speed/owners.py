"""Whose code a stack is in: the innermost of these packages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench import ROOT, Measured, compared

# Part of a file's path -> whose it is; the first one that is in it.
OWNERS = {"/ray/tune/": "Ray Tune", "/ray/": "Ray's core", "/optuna/": "Optuna", "/redis/": "redis-py"}
OURS, OTHER = "tuner: ", "other"


def owner(files: Iterable[str]) -> str:
    """files: of the stack, the innermost first."""
    for file in files:
        if file.startswith(f"{ROOT}/tuner/"):
            return OURS + str(Path(file).relative_to(ROOT / "tuner"))
        for part, name in OWNERS.items():
            if part in file:
                return name
    return OTHER


def rows_by_owner(found: Mapping[str, list[Measured]], what: str, unit: str) -> list[dict[str, Any]]:
    """A row for each owner that has some of what the turns of A and B measured, the largest first."""
    most = Counter[str]()
    for turn in found["A"] + found["B"]:
        most |= Counter(turn)
    rows = []
    for name, _ in most.most_common():
        a, b = ([turn.get(name, 0.0) for turn in found[side]] for side in "AB")
        if max(*a, *b) >= 0.05:
            rows.append(compared(f"{name}, {what}", unit, a, b, less_is_better=True))
    return rows
