from __future__ import annotations

import dataclasses
import json

from tests.factories import new_space, new_spec, new_trial
from tuner.bundle.provenance import provenance
from tuner.environment import environment
from tuner.study import Study
from tuner.training.checkpoint_ref import CheckpointRef
from tuner.training.dataspec import DataInfo, DataSpec
from tuner.training.modelspec import ModelSpec

INFO = DataInfo("pets", ("cat", "dog"), 32, 32, 3, 900, 100, True, "f" * 64, "the data set's own test/ folder")
REF = CheckpointRef("/home/ann/checkpoints/best.safetensors", "a" * 64, 3, 0.8)
PRIVATE = ("/home/ann", "ann", "box17")


def made(**changes):
    spec = new_spec(
        data=DataSpec("/home/ann/pets", "/home/ann/data", seed=4),
        data_fingerprint="f" * 64,
        space=new_space(source="/home/ann/pets.toml"),
        storage="/home/ann/checkpoints",
        created_by="ann",
        seed=7,
        **changes,
    )
    study = Study(spec, (new_trial(0), new_trial(1)), 8, None, environments=({**environment(), "host": "box17"},))
    return provenance(study, 1, REF, INFO, {"hyperparameters": {"lr": 0.01, "depth": 3}})


def test_it_says_all_that_it_takes_to_search_and_train_again():
    found = made()
    assert (found["study"], found["trial"], found["epoch"], found["checkpoint_sha256"]) == ("test", 1, 3, "a" * 64)
    assert found["params"] == new_trial().params
    assert found["hyperparameters"] == {"lr": 0.01, "depth": 3}
    assert found["seeds"] == {"study": 7, "training": 7 * 1_000_003 + 1, "validation_split": 4}
    assert (found["data"]["name"], found["data"]["fingerprint"]) == ("pets", "f" * 64)
    assert found["spec"]["space"]["dimensions"] == new_space().dimensions
    assert found["spec"]["data"] == {**found["spec"]["data"], "dataset": "pets", "val_fraction": 0.1, "seed": 4}
    for ran in (found["exported_with"], *found["searched_with"]):
        assert {"torch", "ray", "onnxruntime"} <= set(ran["packages"])
        assert ran["python"]
        assert len(ran["commit"].rstrip("+")) == 40, "the tests run in a checkout"


def test_it_says_nothing_of_the_machines_and_who_used_them():
    weights = ModelSpec(
        "torchvision:resnet18", weights="/home/ann/resnet18.pth", weights_sha256="b" * 64, mean=[0.5], std=[0.2]
    )
    found = made(model=weights)
    assert found["spec"]["model"]["weights"] == "resnet18.pth"
    text = json.dumps(found)
    assert [word for word in PRIVATE if f'"{word}' in text or f"/{word}" in text] == []


def test_the_spec_is_whole_but_for_what_is_private():
    spec = dataclasses.asdict(new_spec())
    assert set(spec) - set(made()["spec"]) == {"storage", "created_by", "resources"}
