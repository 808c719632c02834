from __future__ import annotations

from pathlib import Path

import pytest

from tuner.errors import UsageError
from tuner.training.dataspec import DataSpec
from tuner.training.folders import open_folder
from tuner.training.named import NamedSource
from tuner.training.sources import flip_keeps_class, open_source


def test_a_folder_of_the_data_sets_name_comes_before_any_download(make_folder, tmp_path: Path) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3, "test/cat": 1}, name="cifar10")
    assert open_source(DataSpec("cifar10", str(tmp_path))) == open_folder(root)
    assert open_source(DataSpec("svhn", str(tmp_path))) == NamedSource("svhn", tmp_path)


def test_a_folder_that_is_gone_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no data set '.*gone'.*digits"):
        open_source(DataSpec(str(tmp_path / "gone"), str(tmp_path)))


def test_digits_are_never_mirrored(tmp_path: Path) -> None:
    flips = {name: flip_keeps_class(DataSpec(name, str(tmp_path))) for name in ("digits", "mnist", "svhn", "/my/pets")}
    assert flips == {"digits": False, "mnist": False, "svhn": False, "/my/pets": True}
