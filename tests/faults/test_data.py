"""Data that cannot be trained on: named before any trial starts, so before Ray does, and before there is a study."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tests.factories import new_space, new_spec
from tests.faults.by_hand import DIGITS
from tuner import launch, submit
from tuner.errors import DataError, UsageError
from tuner.request import SearchRequest
from tuner.settings import Settings
from tuner.spec import Resources
from tuner.store import catalog
from tuner.training.cache import describe, open_cached
from tuner.training.dataspec import DataSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


class RayStarted(Exception):
    """The program got as far as starting Ray."""


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
        request = SearchRequest(
            dataset=str(folder),
            resources=Resources(gpus=0),
            storage=home / "storage",
            data_dir=home / "data",
            **options,
        )
        settings = Settings(home=home, cache=home / "cache")
        launch.search(request, redis_client, settings, Console())

    return run


@pytest.fixture
def resume(redis_client, home):
    """`tuner resume` of the study `test`, as far as Ray."""

    def run():
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
        )

    return run


@pytest.mark.parametrize("options", [{"strict_gpus": True}, {"address": "ftp://head"}])
def test_what_cannot_be_used_is_refused_before_the_data_set_is_decoded(options, pets, search, home):
    with pytest.raises(UsageError):
        search(pets, **options)
    assert not (home / "cache").exists()


@contextlib.contextmanager
def ordinary_user():
    """Root may read everything: be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def refused(run, *arguments, **options):
    """The one line with which something is refused."""
    with pytest.raises(DataError) as caught:
        run(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The data set itself


def test_whole_data_gets_as_far_as_ray(search, pets):
    with ordinary_user(), pytest.raises(RayStarted):
        search(pets)


@pytest.mark.parametrize("left", [0, 20, 300])
def test_a_truncated_picture_is_named_and_left_out_or_refused_before_anything_starts(
    search, pets, redis_client, left, capsys
):
    picture = pets / "train" / "dog" / "07.jpg"
    assert picture.stat().st_size > 400
    os.truncate(picture, left)
    line = refused(search, pets, strict_data=True)
    assert line.startswith(f"{pets} has 1 file that is no picture: train/dog/07.jpg (")
    assert line.endswith("): remove or repair what is broken, or leave out --strict-data")
    assert catalog.list_studies(redis_client) == []
    with pytest.raises(RayStarted):
        search(pets)
    printed = capsys.readouterr().out
    assert "note: left out: 1 file that is no picture: train/dog/07.jpg (" in printed
    assert "2 classes, 21 training and 2 validation pictures of" in printed


@pytest.mark.parametrize("closed", ["", "train", "train/cat", "train/cat/03.jpg", ".."])
def test_data_that_this_user_may_not_read_is_named_before_anything_starts(search, pets, home, redis_client, closed):
    path = Path(os.path.normpath(pets / closed)) if closed != ".." else home / "closed"
    folder = pets
    if closed == "..":  # the data set lies in a folder that may not be entered
        path.mkdir()
        folder = shutil.move(pets, path / "pets")
    redis_client.ping()
    path.chmod(0)
    with ordinary_user():
        line = refused(search, folder)
    assert str(path) in line
    assert "Permission denied" in line
    assert catalog.list_studies(redis_client) == []


def test_a_data_set_that_changed_since_the_study_began_is_named_at_resume(resume, pets, home, redis_client):
    data = DataSpec(str(pets), "")
    spec = new_spec(data=data, data_fingerprint=describe(data, home / "cache").fingerprint, space=new_space())
    catalog.create_study(redis_client, "test", spec.to_json())
    with pytest.raises(RayStarted):
        resume()
    picture = pets / "train" / "cat" / "00.jpg"
    original = picture.read_bytes()
    Image.new("RGB", (16, 16)).save(picture)
    line = refused(resume)
    assert line.startswith(f"data set {pets} is not the one that study test was created with (its files changed")
    picture.write_bytes(original)
    with pytest.raises(RayStarted):
        resume()


# The cache of decoded pictures


HELD = """
import sys, time
from pathlib import Path
from tuner.training import cache, decoding
from tuner.training.dataspec import DataSpec

def hold(*arguments):
    print("decoding", flush=True)
    sys.stdin.readline()
    return fingerprint(*arguments)

fingerprint, decoding._digest = decoding._digest, hold
print("started", flush=True)
print(cache.describe(DataSpec(sys.argv[1], ""), Path(sys.argv[2])).fingerprint)
"""


def test_a_worker_killed_while_it_fills_the_cache_is_followed_by_the_one_that_waits(pets, home):
    def start():
        arguments = [sys.executable, "-c", HELD, str(pets), str(home / "cache")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen(arguments, cwd=Path(__file__).parent.parent.parent, **pipes)

    first = start()
    second = None
    try:
        assert [first.stdout.readline(), first.stdout.readline()] == ["started\n", "decoding\n"]
        second = start()
        assert second.stdout.readline() == "started\n"
        assert select.select([second.stdout], [], [], 0.5)[0] == [], "it waits for the first"
        first.kill()
        first.wait()
        assert second.stdout.readline() == "decoding\n"
        output, _ = second.communicate("go\n", timeout=30)
    finally:
        for process in (first, second):
            if process is not None:
                process.kill()
                process.communicate()
    assert output.strip() == describe(DataSpec(str(pets), ""), home / "other").fingerprint
    assert len([path for path in (home / "cache").iterdir() if path.is_dir()]) == 1, "no half of a cache is left"


class Bomb:
    """Makes the file `path` when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def objects(path):
    """A .npy file whose elements are pickled."""
    np.save(path, np.array([Bomb(path.with_name("exploded"))], object), allow_pickle=True)


DAMAGES = {
    "a truncated images.npy": lambda folder: os.truncate(folder / "images.npy", 5000),
    "an empty images.npy": lambda folder: os.truncate(folder / "images.npy", 0),
    "a header alone": lambda folder: os.truncate(folder / "images.npy", 128),
    "a truncated labels.npy": lambda folder: os.truncate(folder / "labels.npy", 200),
    "no labels.npy": lambda folder: (folder / "labels.npy").unlink(),
    "labels of no class": lambda folder: np.save(folder / "labels.npy", np.full(1438, 10)),
    "labels of another data set": lambda folder: np.save(folder / "labels.npy", np.zeros(7, np.int64)),
    "pictures of another kind": lambda folder: np.save(folder / "images.npy", np.zeros((1438, 8, 8, 1))),
    "a header that is no header": lambda folder: (folder / "images.npy").write_bytes(
        b"\x93NUMPY\x01\0v\0" + b"({[" * 40
    ),
    "a pickle for images.npy": lambda folder: (folder / "images.npy").write_bytes(
        pickle.dumps(Bomb(folder / "exploded"))
    ),
    "pickled pictures": lambda folder: objects(folder / "images.npy"),
    "pickled labels": lambda folder: objects(folder / "labels.npy"),
    "no digests.npy": lambda folder: (folder / "digests.npy").unlink(),
    "digests of another data set": lambda folder: np.save(folder / "digests.npy", np.zeros(7, np.uint64)),
    "an empty meta.json": lambda folder: (folder / "meta.json").write_text("{}"),
    "a list for meta.json": lambda folder: (folder / "meta.json").write_text("[1]"),
    "a pickle for meta.json": lambda folder: (folder / "meta.json").write_bytes(
        pickle.dumps(Bomb(folder / "exploded"))
    ),
    "a folder for meta.json": lambda folder: ((folder / "meta.json").unlink(), (folder / "meta.json").mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_named_with_what_to_delete(search, home, damage):
    intact = describe(DIGITS, home / "cache")
    (folder,) = [path for path in (home / "cache").iterdir() if path.is_dir()]
    DAMAGES[damage](folder)
    line = refused(search, "digits")
    assert line.startswith(f"the decoded data set in {folder} is damaged (")
    assert line.endswith("): delete that folder, it is decoded anew")
    assert not (folder / "exploded").exists()
    shutil.rmtree(folder)
    with pytest.raises(RayStarted):
        search("digits")
    assert open_cached(DIGITS, home / "cache").info(DIGITS) == intact


def test_the_damages_above_are_none_in_themselves(home):
    """The copy of an intact cache is accepted: what the test above refuses, it refuses for the damage."""
    intact = describe(DIGITS, home / "cache")
    (folder,) = [path for path in (home / "cache").iterdir() if path.is_dir()]
    for name in ("images.npy", "labels.npy", "digests.npy"):
        np.save(folder / name, np.load(folder / name))
    (folder / "meta.json").write_text(json.dumps(json.loads((folder / "meta.json").read_text())))
    assert describe(DIGITS, home / "cache") == intact
