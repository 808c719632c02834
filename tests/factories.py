"""Whole objects for tests, each with the one thing that a test is about changed."""

from __future__ import annotations

from typing import Any

from tuner.space import Space
from tuner.spec import StudySpec
from tuner.study import TrialRecord
from tuner.training.dataspec import DataSpec
from tuner.training.objectives import OBJECTIVES

LR = {"type": "float", "low": 1e-3, "high": 0.3, "log": True, "step": None}
WIDTH = {"type": "int", "low": 16, "high": 64, "log": False, "step": 16}
NORM = {"type": "choice", "choices": ["batch", "none"]}


def new_space(**changes: Any) -> Space:
    return Space(**{"source": "test", "dimensions": {"lr": LR, "width": WIDTH, "norm": NORM}, **changes})


def new_spec(**changes: Any) -> StudySpec:
    values = {
        "name": "test",
        "data": DataSpec(dataset="digits", data_dir="/nowhere"),
        "data_fingerprint": "0" * 64,
        "space": new_space(),
        "trials": 8,
        "max_epochs": 9,
        "grace_period": 1,
        "reduction_factor": 3,
        "storage": "/nowhere",
    }
    if "metric" in changes:
        values["direction"] = OBJECTIVES[changes["metric"]].direction
    return StudySpec(**{**values, **changes})


def new_trial(number: int = 0, **changes: Any) -> TrialRecord:
    values = {
        "state": "running",
        "reason": None,
        "params": {"lr": 0.0123456, "width": 32, "norm": "batch"},
        "values": [],
        "attempt": 1,
        "worker": "here:1 (CPU)",
        "seconds": 1.0,
        "checkpoint": None,
        "best_checkpoint": None,
    }
    return TrialRecord(number=number, **{**values, **changes})


def new_ref(path: str = "/s/best", epoch: int = 1, score: float = 0.5) -> dict[str, Any]:
    return {"path": path, "sha256": "a" * 64, "epoch": epoch, "score": score}
