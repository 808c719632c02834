"""Where an exported model comes from: study, trial, parameters, seeds, data, versions and commit, as `provenance.json`.

It says nothing of the machines: no paths, no names of hosts and users.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.environment import environment
from tuner.study import Study
from tuner.training.checkpoint_ref import CheckpointRef
from tuner.training.dataspec import DataInfo

PROVENANCE_FILE = "provenance.json"
FORMAT = 1
# Of a machine or a person, and nothing that a result depends on.
_PRIVATE = ("storage", "created_by", "resources")


def provenance(
    study: Study, trial: int, ref: CheckpointRef, info: DataInfo, description: Mapping[str, Any]
) -> dict[str, Any]:
    """JSON-able. trial, ref: the winner and its checkpoint; description: what that says of itself."""
    spec = study.spec
    record = next(one for one in study.trials if one.number == trial)
    return {
        "format": FORMAT,
        "study": spec.name,
        "trial": trial,
        "epoch": ref.epoch,
        "continues": record.continues,
        "checkpoint_sha256": ref.sha256,
        "params": record.params,
        "hyperparameters": description["hyperparameters"],
        "seeds": {"study": spec.seed, "training": spec.training_seed(trial), "validation_split": spec.data.seed},
        "data": {
            "name": info.name,
            "fingerprint": info.fingerprint,
            "classes": len(info.classes),
            "training_pictures": info.train_size,
            "validation_pictures": info.val_size,
            "test_source": info.test_source,
        },
        "searched_with": [_public(one) for one in study.environments],
        "exported_with": _public(environment()),
        "spec": _spec(json.loads(spec.to_json())),
    }


def write_provenance(folder: Path, content: Mapping[str, Any]) -> None:
    """Write `content` to `folder`."""
    (folder / PROVENANCE_FILE).write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _public(found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != "host"}


def _spec(content: dict[str, Any]) -> dict[str, Any]:
    """The study's spec with the names of files instead of their paths."""
    for key in _PRIVATE:
        content.pop(key, None)
    del content["data"]["data_dir"]
    content["data"]["dataset"] = Path(content["data"]["dataset"]).name
    content["space"]["source"] = Path(content["space"]["source"]).name
    if content.get("model"):
        content["model"]["weights"] = content["model"].get("weights", "").rpartition("/")[2]
    return content
