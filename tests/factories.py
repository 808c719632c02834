"""Whole objects for tests, each with the one thing that a test is about changed."""

from __future__ import annotations

from typing import Any

from tuner.space import Space
from tuner.spec import StudySpec
from tuner.training.dataspec import DataSpec

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
    return StudySpec(**{**values, **changes})
