"""The folder of an export: it becomes a whole one, or stays as it was. Imports nothing heavy."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuner.errors import UsageError

CONFIG_FILE, LABELS_FILE, METRICS_FILE, CARD_FILE = "config.json", "labels.txt", "metrics.json", "README.md"
MARKS = (CONFIG_FILE, LABELS_FILE, METRICS_FILE, CARD_FILE)
"""By these a folder is known as an export, also one of an earlier version."""
SCRATCH = ".export-"


def check_target(target: Path, force: bool) -> None:
    """Raise UsageError unless `target` may become an export. --force replaces exports and nothing else: the folder's
    old content is deleted, and `--out .` is quickly typed."""
    for path in (target, *target.parents):
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file: give a folder for the export with --out")
    if not target.exists():
        return
    content = {entry.name for entry in target.iterdir()}
    if not content:
        return
    if not force:
        raise UsageError(f"{target} is not empty: give another folder with --out, or replace it with --force")
    missing = [name for name in MARKS if name not in content]
    if missing:
        raise UsageError(
            f"{target} is not an earlier export (it has no {missing[0]}), and --force replaces nothing else: "
            f"give another folder with --out"
        )


@contextmanager
def replacing(target: Path, force: bool) -> Iterator[Path]:
    """Give an empty folder to fill, which becomes `target` when the block ends well and vanishes otherwise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}{SCRATCH}", dir=target.parent) as scratch:
        new, old = Path(scratch, "new"), Path(scratch, "old")
        new.mkdir()
        yield new
        # After a power cut the folder's new name must not stand before its content does.
        for path in (*new.iterdir(), new):
            sync(path)
        # Again, for the export took a while.
        check_target(target, force)
        try:
            if target.exists():
                os.rename(target, old)
            os.rename(new, target)
        except BaseException:
            if old.exists():
                os.rename(old, target)
            raise


def sync(path: Path) -> None:
    """Have a file or folder on the disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
