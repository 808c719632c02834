"""Data that cannot be trained on: named before any trial starts, so before Ray does, and before there is a study."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.factories import new_space, new_spec
from tests.faults.pictures.refusing import RayStarted, refused
from tuner.errors import UsageError
from tuner.spec import Resources
from tuner.store import catalog
from tuner.training.cache import describe
from tuner.training.dataspec import DataSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"strict_gpus": True}, "--strict-gpus needs the number of GPUs"),
        ({"address": "ftp://head"}, "is not understood: give HOST:PORT"),
        ({"sampler": "foo"}, "sampler = 'foo' is not known: it must be tpe, mfgp or random"),
        ({"asha": "foo"}, "asha = 'foo' is not known: it must be stop or promote"),
        ({"budget": "2gpuh"}, "budget 2gpuh counts GPU-hours, but this search trains on CPUs"),
        ({"resources": Resources(gpus=0, trials_per_gpu="auto")}, "--trials-per-gpu auto .* --gpus 0 trains on CPUs"),
    ],
)
def test_what_cannot_be_used_is_refused_before_the_data_set_is_decoded(options, line, pets, search, home):
    with pytest.raises(UsageError, match=line):
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


def test_a_budget_of_hours_that_the_study_does_not_use_is_refused_at_resume_before_its_data_is_read(
    resume, home, redis_client
):
    spec = new_spec(resources=Resources(gpus=0), budget="8cpuh")
    catalog.create_study(redis_client, "test", spec.to_json())
    with pytest.raises(UsageError, match="budget 1gpuh counts GPU-hours, but this search trains on CPUs"):
        resume(budget="1gpuh")
    assert not (home / "cache").exists()


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
