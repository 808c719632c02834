"""Modules of benchmarks/, which is no package."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """What is imported meanwhile is looked for there first."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
