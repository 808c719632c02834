"""The cache of decoded pictures: filled by one process at a time, and refused where it is damaged."""

from __future__ import annotations

import json
import os
import pickle
import select
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.faults.by_hand import DIGITS
from tests.faults.pictures.refusing import RayStarted, refused
from tuner.training.cache import describe, open_cached
from tuner.training.dataspec import DataSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


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
        return subprocess.Popen(arguments, cwd=Path(__file__).parents[3], **pipes)

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
