"""What a search ran with: versions, commit, machine. Kept with the study by each driver for whoever reads it later."""

from __future__ import annotations

import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tuner import __version__

PACKAGES = ("torch", "torchvision", "ray", "optuna", "numpy", "redis", "onnx", "onnxruntime")

_GIT_S = 5.0


def environment() -> dict[str, Any]:
    """JSON-able: started_s (since 1970, this machine's clock), host, system, python, tuner, packages (name -> version,
    those that are installed) and commit (of the checkout that this program runs from, with a + if it was changed
    since; absent if it runs from none)."""
    commit = _commit(Path(__file__).parent)
    return {
        "started_s": round(time.time(), 3),
        "host": platform.node(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "tuner": __version__,
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        **({"commit": commit} if commit else {}),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _commit(folder: Path) -> str:
    """Installed programs have none: the folder above them may be a checkout of something else."""
    if not (folder.parent / ".git").exists():
        return ""
    try:
        return _git(folder, "rev-parse", "HEAD") + ("+" if _git(folder, "status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *arguments: str) -> str:
    # Without the lock that a status takes to write its index: a person may be committing there.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=_GIT_S, check=True).stdout.strip()
