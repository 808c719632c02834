"""Every environment variable of the program's own, read once.

Options of the command line name their variable in `tuner COMMAND --help`; the ones here have no option.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HOME_VARIABLE = "TUNER_HOME"
CACHE_VARIABLE = "TUNER_CACHE"
DEBUG_VARIABLE = "TUNER_DEBUG"
LOGICAL_GPUS_VARIABLE = "TUNER_LOGICAL_GPUS"
JOB_VARIABLE = "TUNER_JOB"


@dataclass(frozen=True)
class Settings:
    """Where things are on this machine.

    home: folder of the embedded Redis, of checkpoints and of downloaded data sets (0700, created on first use).
    cache: folder of decoded data sets; may be deleted at any time, is filled again when needed.
    debug: as if `--debug` were given.
    logical_gpus: for workers: Ray's GPUs are only numbers, train on CPUs; to try a cluster out on machines without.
    job: of a driver that was submitted as a Ray job: JSON that its submitter wrote; else empty.
    """

    home: Path
    cache: Path
    debug: bool = False
    logical_gpus: bool = False
    job: str = ""

    @property
    def storage(self) -> Path:
        """Default of `--storage`: checkpoints, one folder a study."""
        return self.home / "checkpoints"

    @property
    def data_dir(self) -> Path:
        """Default of `--data-dir`: named data sets that are already there, or downloads."""
        return self.home / "data"


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `environment` (the process's own by default)."""
    variables = os.environ if environment is None else environment
    home = Path(variables.get(HOME_VARIABLE) or "~/.local/share/tuner").expanduser().absolute()
    cache = Path(variables.get(CACHE_VARIABLE) or home / "cache").expanduser().absolute()
    return Settings(
        home=home,
        cache=cache,
        debug=_is_on(variables.get(DEBUG_VARIABLE)),
        logical_gpus=_is_on(variables.get(LOGICAL_GPUS_VARIABLE)),
        job=variables.get(JOB_VARIABLE, ""),
    )


def absolute(path: str | Path | None, default: Path) -> Path:
    """`path` made absolute against the current folder, or `default`: workers have another current folder."""
    return default if path is None else Path(path).expanduser().absolute()


def _is_on(value: str | None) -> bool:
    return (value or "").strip().lower() not in ("", "0", "false", "no", "off")
