"""A folder of pictures, and a search of it that gets no further than starting Ray."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tests.faults.pictures.refusing import RayStarted
from tuner import launch, submit
from tuner.request import SearchRequest
from tuner.settings import Settings
from tuner.spec import Resources


@pytest.fixture(autouse=True)
def no_ray(monkeypatch):
    def started(*_, **__):
        raise RayStarted

    monkeypatch.setattr(submit, "ray_cluster", started)


@pytest.fixture
def home():
    """A folder that other users may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="tuner-data-"))
    folder.chmod(0o777)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o777)
    shutil.rmtree(folder)


@pytest.fixture
def pets(home):
    """A small folder of pictures."""
    root = home / "pets"
    generator = np.random.RandomState(0)
    for split, count in (("train", 12), ("test", 2)):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.randint(0, 256, (16, 16, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number:02d}.jpg")
    return root


@pytest.fixture
def search(redis_client, home):
    """`tuner search` of a folder, as far as Ray."""

    def run(folder, **options):
        places = {"storage": home / "storage", "data_dir": home / "data"}
        request = SearchRequest(**{"dataset": str(folder), "resources": Resources(gpus=0), **places, **options})
        settings = Settings(home=home, cache=home / "cache")
        launch.search(request, redis_client, settings, Console())

    return run


@pytest.fixture
def resume(redis_client, home):
    """`tuner resume` of the study `test`, as far as Ray."""

    def run(**changes):
        settings = Settings(home=home, cache=home / "cache")
        unchanged = dict.fromkeys(("trials", "max_epochs", "time_budget_s", "progress_timeout_s", "address"))
        launch.resume(
            "test",
            redis_client,
            settings,
            Console(quiet=True),
            **unchanged,
            wait_s=0.0,
            insecure=False,
            strict_gpus=False,
            change=lambda old: old,
            **changes,
        )

    return run
