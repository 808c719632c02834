"""The name of a checkpoint, as the journal keeps it. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class CheckpointRef:
    """One checkpoint file and what vouches for it.

    path: of the file, absolute. sha256: of its bytes. epoch: 1-based. score: validation accuracy there, 0 to 1.
    """

    path: str
    sha256: str
    epoch: int
    score: float

    def as_dict(self) -> dict[str, Any]:
        """All fields, JSON-able."""
        return asdict(self)

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> CheckpointRef:
        """The inverse of `as_dict`."""
        return cls(**entry)
