"""Which checkpoint files stay when a trial has ended."""

from pathlib import Path

import pytest

from tests.factories import new_ref, new_spec, new_trial
from tuner.retention import discard_checkpoints, trial_folder


@pytest.fixture
def files(tmp_path):
    """Two attempts of trial 0, each with files of two saves; the spec that they belong to."""
    spec = new_spec(storage=str(tmp_path))
    paths = {}
    for attempt in (1, 2):
        folder = trial_folder(str(tmp_path), "test", 0) / f"attempt-{attempt}"
        folder.mkdir(parents=True)
        for name in ("best-0001", "best-0003", "epoch-0002", "epoch-0003"):
            paths[attempt, name] = folder / f"{name}.safetensors"
            paths[attempt, name].write_bytes(b"weights")
    return spec, paths


def left(tmp_path):
    return {path for path in Path(tmp_path).rglob("*") if path.is_file()}


@pytest.mark.parametrize("state", ["pruned", "failed"])
def test_nothing_of_a_pruned_or_failed_trial_is_kept(files, tmp_path, state):
    spec, _ = files
    for _ in range(2):  # again after a crash
        discard_checkpoints(spec, new_trial(0, state=state))
    assert not trial_folder(str(tmp_path), "test", 0).exists()


def test_the_last_and_the_best_of_a_complete_trial_are_kept_and_nothing_else(files, tmp_path):
    spec, paths = files
    last, best = paths[2, "epoch-0003"], paths[2, "best-0003"]
    trial = new_trial(0, state="complete", checkpoint=new_ref(str(last)), best_checkpoint=new_ref(str(best)))
    discard_checkpoints(spec, trial)
    assert left(tmp_path) == {last, best}


@pytest.mark.parametrize("state", ["running", "queued"])
def test_a_trial_in_flight_keeps_everything(files, tmp_path, state):
    spec, paths = files
    discard_checkpoints(spec, new_trial(0, state=state))
    assert left(tmp_path) == set(paths.values())


def test_everything_is_kept_if_the_user_said_so(files, tmp_path):
    _, paths = files
    discard_checkpoints(new_spec(storage=str(tmp_path), keep_all=True), new_trial(0, state="pruned"))
    assert left(tmp_path) == set(paths.values())


def test_what_cannot_be_deleted_stays_and_the_rest_goes(files, tmp_path):
    spec, paths = files
    last, best = paths[2, "epoch-0003"], paths[2, "best-0003"]
    for name in ("a", "z"):
        (last.parent / name).mkdir()  # no file: it cannot be unlinked
    trial = new_trial(0, state="complete", checkpoint=new_ref(str(last)), best_checkpoint=new_ref(str(best)))
    discard_checkpoints(spec, trial)
    assert left(tmp_path) == {last, best}
