"""Whether more or less of a score is better."""

from __future__ import annotations

from typing import Literal

Direction = Literal["maximize", "minimize"]


def sign_of(direction: Direction) -> float:
    """What a score is multiplied with so that more is better."""
    return 1.0 if direction == "maximize" else -1.0
