"""`--log`: Ray Tune's own callbacks for TensorBoard and MLflow, told of our trials and epochs instead of Tune's.

What Tune calls a trial is an attempt, its iterations are not our epochs, and its folder is thrown away. Each trial of
ours is one run there: all its attempts in one life of the driver write to it.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.logger import LoggerCallback

from tuner.errors import UsageError, first_line
from tuner.exchange import Report
from tuner.retention import study_folder
from tuner.spec import StudySpec

_PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow"}
_MLFLOW_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Run:
    """What the callbacks know of a trial, under the names that they ask Tune's trials for."""

    number: int
    config: dict[str, Any]
    local_path: str

    @property
    def trial_id(self) -> str:
        """Names the run."""
        return f"trial-{self.number:04d}"

    @property
    def evaluated_params(self) -> dict[str, Any]:
        """The parameters, for TensorBoard's page of hyperparameters."""
        return self.config

    def init_local_path(self) -> None:
        """Make the folder."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return self.trial_id


class EpochLogger(Callback):  # type: ignore[misc]
    """Tells `told`, one of Tune's logger callbacks, of trials and epochs.

    An error in it is said once and ends the logging, not the search: Tune would end the run.
    """

    def __init__(self, name: str, spec: StudySpec, told: LoggerCallback, folder: Path) -> None:
        self._name = name
        self._spec = spec
        self._told: LoggerCallback | None = told
        self._folder = folder
        self._runs: dict[int, Run] = {}

    def setup(self, **info: Any) -> None:
        """Tune begins."""
        self._tell(lambda told: told.setup(**info))

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """An attempt begins."""
        run = self._run(trial)
        self._tell(lambda told: told.log_trial_start(run))

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Any],  # noqa: ARG002
        trial: Any,
        result: dict[str, Any],
        **info: Any,  # noqa: ARG002
    ) -> None:
        """An epoch, or why there is none."""
        report = result.get("report")
        if isinstance(report, Report):
            run, values = self._run(trial), self._values(report)
            self._tell(lambda told: told.log_trial_result(report.epoch, run, values))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """The attempt was stopped by a decision."""
        run = self._run(trial)
        self._tell(lambda told: told.log_trial_end(run, failed=False))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """The attempt was lost with its worker."""
        run = self._run(trial)
        self._tell(lambda told: told.log_trial_end(run, failed=True))

    def _run(self, trial: Any) -> Run:
        number = trial.config["number"]
        if number not in self._runs:
            run = Run(number, self._spec.all_params(trial.config["params"]), "")
            run.local_path = str(self._folder / run.trial_id)
            self._runs[number] = run
        return self._runs[number]

    def _values(self, report: Report) -> dict[str, Any]:
        values = {
            "train_loss": report.train_loss,
            "val_loss": report.val_loss,
            **report.scores,
            self._spec.metric: report.score,
            "seconds": report.seconds,
            **report.costs,
        }
        # The key by which the callbacks find the step.
        return {key: value for key, value in values.items() if math.isfinite(value)} | {
            "training_iteration": report.epoch
        }

    def _tell(self, what: Callable[[LoggerCallback], None]) -> None:
        if self._told is None:
            return
        try:
            what(self._told)
        except Exception as error:
            self._told = None
            _log.warning(
                "writing to %s failed (%s: %s); the search goes on without it",
                self._name,
                type(error).__name__,
                first_line(error),
            )

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its configuration; files and connections stay in this process.
        return {}


def refuse_missing(names: tuple[str, ...]) -> None:
    """Raises UsageError if a `--log` is not known, or the package that it needs is not installed here."""
    for name in names:
        if name not in _PACKAGES:
            raise UsageError(f"--log {name} is not known: give {' or '.join(_PACKAGES)}")
        if find_spec(_PACKAGES[name]) is None:
            raise UsageError(f"--log {name} needs the package {_PACKAGES[name]}: pip install 'tuner[{name}]'")


def new_loggers(spec: StudySpec) -> list[Callback]:
    """The callbacks that the spec asks for. Raises UsageError if a package is missing."""
    refuse_missing(spec.log)
    folder = study_folder(spec.storage, spec.name)
    loggers: list[Callback] = []
    if "tensorboard" in spec.log:
        from ray.tune.logger import TBXLoggerCallback

        place = folder / "tensorboard"
        loggers.append(EpochLogger("TensorBoard", spec, TBXLoggerCallback(), place))
    if "mlflow" in spec.log:
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        # While it waits for its server, 4 minutes at first, nothing else of the driver goes on.
        for variable, value in _MLFLOW_PATIENCE.items():
            os.environ.setdefault(variable, value)
        # Its own variable names a server; without one a file beside the checkpoints, and no folder in the current one.
        uri = None if os.environ.get("MLFLOW_TRACKING_URI") else f"sqlite:///{folder / 'mlflow.db'}"
        tags = {"study": spec.name, "dataset": spec.data.default_name}
        told = MLflowLoggerCallback(tracking_uri=uri, experiment_name=spec.name, tags=tags)
        loggers.append(EpochLogger("MLflow", spec, told, folder))
    return loggers
