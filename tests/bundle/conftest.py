"""What the tests of bundles share: two exported models, one of grey pictures and one of colours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.bundle.odd import write_odd_pictures
from tests.trained import train, write_colours
from tuner.export import export_best
from tuner.training.dataspec import DataSpec


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def grey_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of a small network for the digits, 8 x 8 x 1."""
    folder = tmp_path_factory.mktemp("grey")
    study = train(DataSpec(dataset="digits", data_dir="/nowhere"), folder / "cache", folder / "storage")
    return export_best(study, folder / "best", cache=folder / "cache", say=lambda line: None).folder


@pytest.fixture(scope="session")
def colour_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of a small network for red, green and blue noise, 32 x 32 x 3."""
    folder = tmp_path_factory.mktemp("colour")
    spec = DataSpec(dataset=str(write_colours(folder / "colours")), data_dir="/nowhere")
    study = train(spec, folder / "cache", folder / "storage", epochs=20)
    return export_best(study, folder / "best", cache=folder / "cache", say=lambda line: None).folder


@pytest.fixture(scope="session")
def odd_pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_odd_pictures(tmp_path_factory.mktemp("odd") / "pictures")
