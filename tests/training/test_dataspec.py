from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tuner.errors import UsageError
from tuner.training.dataspec import DataSpec, resolve_dataset


def test_a_spec_survives_its_dictionary() -> None:
    spec = DataSpec("/pictures/cats", "/data", image_size=48, val_fraction=0.2, seed=3)
    assert DataSpec.from_dict(spec.as_dict()) == spec


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("cifar10", "cifar10"),
        ("/data/Pets 2", "pets-2"),
        ("/data/_Ünder.score_", "nder-score"),
        ("/data/***", "folder"),
        ("/", "folder"),
    ],
)
def test_the_default_name_is_a_valid_study_name(dataset: str, name: str) -> None:
    assert DataSpec(dataset, "/data").default_name == name


@pytest.mark.parametrize(
    "values", [{"image_size": 3}, {"image_size": 1025}, {"val_fraction": 0.0}, {"val_fraction": 0.6}, {"seed": -1}]
)
def test_a_value_out_of_range_is_refused_with_the_range(values: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=r"is not allowed: it must be from \S+ to \S+"):
        DataSpec("digits", "/data", **values)


def test_a_typed_folder_becomes_absolute_and_a_name_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pets").mkdir()
    assert (resolve_dataset("digits"), resolve_dataset("pets")) == ("digits", str(tmp_path / "pets"))


def test_an_unknown_data_set_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(
        UsageError, match=r"no data set 'cifar11'.*digits, mnist, fashion_mnist, cifar10, cifar100, svhn"
    ):
        resolve_dataset("cifar11")


def test_specs_and_checkpoint_names_need_no_torch() -> None:
    code = (
        "import sys, tuner.training.dataspec, tuner.training.checkpoint_ref, tuner.training.config; "
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
