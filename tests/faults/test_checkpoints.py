"""Checkpoints that are damaged, gone, half written or planted, and disks that are full.

The reference is the same search without any fault: on a CPU with one thread it repeats bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.faults.by_hand import Life, digits_spec
from tuner import worker
from tuner.errors import CheckpointError, ExportError
from tuner.export import export_best
from tuner.retention import trial_folder
from tuner.store.journal import MemoryJournal
from tuner.study import read_study
from tuner.training import checkpoint
from tuner.training.checkpoint_ref import CheckpointRef

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]
ROOT = Path(__file__).parent.parent.parent
RUNGS = {"max_epochs": 6, "grace_period": 1, "reduction_factor": 2}  # checkpoints after epochs 1, 2, 4 and 6


@pytest.fixture(autouse=True)
def repeatable(monkeypatch, one_thread):
    """One thread, and checkpoints at rungs and at the end only, however fast the disk is."""
    monkeypatch.setattr(worker, "CHECKPOINT_SHARE", 0.0)


@pytest.fixture
def search(cache, tmp_path):
    """Makes the next life of one search."""
    spec, journal = digits_spec(tmp_path / "storage", cache, **RUNGS), MemoryJournal()
    return lambda: Life(spec, cache, journal)


@pytest.fixture
def undisturbed(cache, tmp_path):
    """The trial as it is when nothing goes wrong."""
    life = Life(digits_spec(tmp_path / "undisturbed", cache, **RUNGS), cache, MemoryJournal())
    life.train()
    return life.trial()


@pytest.fixture
def interrupted(search):
    """The attributes of a trial whose driver and worker died in its sixth epoch."""
    life = search()
    life.launch()
    for _ in range(5):
        life.step()
    attributes = life.attributes()
    assert (attributes["checkpoint"]["epoch"], attributes["previous_checkpoint"]["epoch"]) == (4, 2)
    return attributes


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0b100
    path.write_bytes(content)


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def delete(path):
    path.unlink()


def plant(path):
    path.write_bytes(pickle.dumps(Bomb(path.with_name("exploded"))))


class Bomb:
    """Makes the file `path` when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def check_as_undisturbed(trial, undisturbed):
    """The same epochs, scores and weights as without the fault."""
    assert (trial.state, trial.values) == ("complete", undisturbed.values)
    for found, expected in (
        (trial.checkpoint, undisturbed.checkpoint),
        (trial.best_checkpoint, undisturbed.best_checkpoint),
    ):
        found, expected = (checkpoint.read(CheckpointRef.from_dict(ref)) for ref in (found, expected))
        weights = expected.group("model")
        assert all(torch.equal(tensor, weights[name]) for name, tensor in found.group("model").items())


# Damaged files


@pytest.mark.parametrize("damage", [halve, flip_a_bit, delete, plant])
def test_when_the_newest_checkpoint_is_damaged_the_verified_one_before_it_is_used(
    search, interrupted, undisturbed, damage
):
    newest = Path(interrupted["checkpoint"]["path"])
    damage(newest)
    life = search()
    reports = life.train()
    assert [report.epoch for report in reports] == [3, 4, 5, 6]
    assert life.attributes()["restarts"] == [reports[0].restarted]
    assert str(newest) in reports[0].restarted
    assert reports[0].restarted.endswith(": went on after epoch 2")
    assert not newest.with_name("exploded").exists()
    check_as_undisturbed(life.trial(), undisturbed)


def test_when_both_are_damaged_the_trial_begins_again_and_says_both(search, interrupted, undisturbed):
    files = [Path(interrupted[key]["path"]) for key in ("checkpoint", "previous_checkpoint")]
    for damage, file in zip((halve, flip_a_bit), files, strict=True):
        damage(file)
    life = search()
    reports = life.train()
    assert [report.epoch for report in reports] == [1, 2, 3, 4, 5, 6]
    assert all(str(file) in reports[0].restarted for file in files)
    assert reports[0].restarted.endswith(": began at epoch 1 again")
    check_as_undisturbed(life.trial(), undisturbed)


def test_when_the_folder_is_deleted_the_trial_begins_again(search, interrupted, undisturbed, tmp_path):
    shutil.rmtree(tmp_path / "storage")
    life = search()
    assert [report.epoch for report in life.train()] == [1, 2, 3, 4, 5, 6]
    check_as_undisturbed(life.trial(), undisturbed)


def test_when_the_best_weights_are_damaged_the_checkpoint_is_not_whole_either(search, interrupted, undisturbed):
    flip_a_bit(Path(interrupted["best_checkpoint"]["path"]))
    life = search()
    reports = life.train()
    assert reports[0].epoch < 5
    assert interrupted["best_checkpoint"]["path"] in reports[0].restarted
    check_as_undisturbed(life.trial(), undisturbed)


@pytest.mark.parametrize("left", [".epoch-0006.safetensors.partial", "epoch-0006.safetensors"])
def test_a_worker_killed_while_it_saved_leaves_nothing_that_counts(search, interrupted, undisturbed, tmp_path, left):
    half = trial_folder(str(tmp_path / "storage"), "test", 0) / "attempt-1" / left
    half.write_bytes(b"half of a checkpoint, or a whole one that the journal never named")
    life = search()
    reports = life.train()
    assert [(report.epoch, report.restarted) for report in reports] == [(5, ""), (6, "")]
    check_as_undisturbed(life.trial(), undisturbed)
    assert not half.exists()


def test_a_planted_file_whose_hash_is_in_the_journal_is_refused_and_not_unpickled(tmp_path):
    path = tmp_path / "epoch-0001.safetensors"
    for content in (pickle.dumps(Bomb(tmp_path / "exploded")), b"", b"\x08" + bytes(7) + b"[1, 2]  ", bytes(300)):
        path.write_bytes(content)
        ref = CheckpointRef(str(path), hashlib.sha256(content).hexdigest(), 1, 0.5)
        with pytest.raises(CheckpointError, match=f"{path} is no checkpoint"):
            checkpoint.read(ref)
    torch.save({"model": Bomb(tmp_path / "exploded")}, path)
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        checkpoint.read(CheckpointRef(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), 1, 0.5))
    assert not (tmp_path / "exploded").exists()


# A full disk: a limit on the size of files, which the kernel enforces like the end of a disk

FULL_DISK = """
import json, resource, sys
from dataclasses import asdict
from pathlib import Path
import torch
from tests.faults.by_hand import Life, digits_spec
from tuner import worker
from tuner.store.journal import MemoryJournal

torch.set_num_threads(1)
worker.CHECKPOINT_SHARE = 0.0
storage, cache, full = Path(sys.argv[1]), Path(sys.argv[2]), set(map(int, sys.argv[3:]))
spec = digits_spec(storage, cache, max_epochs=6, grace_period=1, reduction_factor=2, trials=1)
journal = MemoryJournal()
steps, lives = 0, []
for _ in range(2):
    life = Life(spec, cache, journal)
    outcomes, assignment = [], life.record.next_assignment()
    while assignment is not None:
        life.begin(assignment)
        while life.goes_on:
            steps += 1
            limit = 4096 if steps in full else resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            outcomes.append({**asdict(life.step()), "half": len(list(storage.rglob("*.partial")))})
        assignment = life.record.next_assignment()
    record = life.record
    full_up = record.brake.out_of_room
    lives.append([outcomes, full_up, record.exhausted, asdict(life.trial()), life.attributes()["attempt"]])
print(json.dumps(lives))
"""


@pytest.fixture
def on_a_full_disk(cache, tmp_path):
    """Two lives of a search of one trial, with a full disk during some of its steps: for each (outcomes, whether it
    stopped for want of room, whether nothing was left to do, the trial, its attempt)."""

    def run(*full):
        digits_spec(tmp_path, cache)  # decodes the data set
        arguments = [sys.executable, "-c", FULL_DISK, str(tmp_path / "storage"), str(cache), *map(str, full)]
        result = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=80)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout.splitlines()[-1]), result.stderr

    return run


def test_a_disk_that_is_full_for_a_while_costs_checkpoints_and_no_trial(on_a_full_disk, undisturbed):
    ((outcomes, out_of_room, exhausted, trial, attempt), (again, *_)), said = on_a_full_disk(1, 2, 3, 4)
    assert [outcome["checkpoint"] is not None for outcome in outcomes] == [False] * 5 + [True]
    for epoch in (1, 2, 4):
        line = outcomes[epoch - 1]["save_error"]
        assert line.startswith("cannot write the checkpoint ")
        assert line.endswith(": File too large")
    assert [outcomes[epoch - 1]["save_error"] for epoch in (3, 5, 6)] == [""] * 3
    assert {outcome["half"] for outcome in outcomes} == {0}, "what was written by half is gone at once"
    assert (trial["state"], attempt, out_of_room, exhausted, again) == ("complete", 1, False, True, [])
    assert [tuple(value) for value in trial["values"]] == undisturbed.values
    assert said.count("nothing more is launched until one can be saved") == 1


def test_a_trial_whose_end_cannot_be_saved_stays_in_flight_and_is_complete_once_there_is_room(
    on_a_full_disk, undisturbed
):
    (first, second), _ = on_a_full_disk(5, 6)
    outcomes, out_of_room, exhausted, trial, _ = first
    assert "File too large" in outcomes[-1]["save_error"]
    assert (trial["state"], out_of_room, exhausted) == ("queued", True, True)
    assert [epoch for epoch, _ in trial["values"]] == [1, 2, 3, 4, 5], "the last epoch counts once its weights are kept"
    outcomes, out_of_room, _, trial, attempt = second
    assert [outcome["epoch"] for outcome in outcomes] == [5, 6]
    assert (trial["state"], attempt, out_of_room) == ("complete", 2, False)
    assert [tuple(value) for value in trial["values"]] == undisturbed.values
    checkpoint.read(CheckpointRef.from_dict(trial["best_checkpoint"]))


def test_a_study_that_could_save_nothing_is_not_exported(search, cache, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write_atomically", full)
    life = search()
    life.train()
    study = read_study(life.record.spec, life.record._journal, None)
    with pytest.raises(ExportError, match="has no trained weights to export: go on with: tuner resume test"):
        export_best(study, tmp_path / "best", cache=cache, say=lambda line: None)
    assert not (tmp_path / "best").exists()
