"""Exports that are killed, that meet a full disk, or that run while the search does."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.by_hand import Life, digits_spec
from tests.program import new_program
from tuner.errors import CheckpointError
from tuner.export import FILES, export_best
from tuner.exported_model import load_exported
from tuner.store.journal import MemoryJournal
from tuner.study import read_study

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120), pytest.mark.usefixtures("one_thread")]
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def life(cache, tmp_path):
    """A search whose first trial has trained for two epochs of four, and saved both."""
    life = Life(digits_spec(tmp_path / "storage", cache, grace_period=1, reduction_factor=2), cache, MemoryJournal())
    life.launch()
    for _ in range(2):
        life.step()
    return life


def study_of(life):
    return read_study(life.record.spec, life.record._journal, {"host": "here", "pid": 1, "user": "me", "since_s": 0})


# While the search runs


def test_the_best_so_far_is_exported_and_it_is_said_that_the_search_still_runs(life, cache, tmp_path):
    study, lines = study_of(life), []
    exported = export_best(study, tmp_path / "best", cache=cache, say=lines.append)
    best = study.trials[0].best_checkpoint
    assert (exported.trial, exported.epoch, exported.validation_score) == (0, best["epoch"], best["score"])
    assert lines[0].endswith(", the best so far of a search that still runs")


def test_weights_that_were_replaced_after_the_study_was_read_are_looked_up_anew(life, cache, tmp_path):
    study = study_of(life)
    while life.goes_on:
        life.step()
    Path(study.trials[0].best_checkpoint["path"]).unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match="to export trial 0, put that file back"):
        export_best(study, tmp_path / "best", cache=cache, say=lambda line: None)
    exported = export_best(study, tmp_path / "best", cache=cache, say=lambda line: None, reread=lambda: study_of(life))
    best = study_of(life).trials[0].best_checkpoint
    assert best != study.trials[0].best_checkpoint
    assert (exported.epoch, exported.validation_score) == (best["epoch"], best["score"])


def test_weights_that_are_damaged_are_not_looked_for_for_ever(life, cache, tmp_path):
    study, reads = study_of(life), []
    path = Path(study.trials[0].best_checkpoint["path"])
    path.write_bytes(path.read_bytes()[:-1])

    def reread():
        reads.append(1)
        return study_of(life)

    with pytest.raises(CheckpointError, match="has changed since it was written"):
        export_best(study, tmp_path / "best", cache=cache, say=lambda line: None, reread=reread)
    assert reads == [1]
    assert not (tmp_path / "best").exists()


@pytest.mark.timeout(240)
def test_the_command_exports_from_a_search_whose_driver_lives(tmp_path):
    with new_program() as tuner:
        options = ("--gpus", "0", "--workers", "1", "--trials", "500", "--max-epochs", "10", "--name", "live")
        search = tuner.start("search", "digits", *options)
        try:
            tuner.wait_until(lambda: tuner.finished("live") >= 1, search)
            said = tuner("export-best", "live", "--out", str(tmp_path / "best"))
            assert search.poll() is None, "the search was to run still"
        finally:
            search.send_signal(signal.SIGTERM)
            search.communicate(timeout=60)
        trials = {trial["number"]: trial for trial in json.loads(tuner("trials", "live", "--json"))}
    assert "the best so far of a search that still runs" in said
    exported = json.loads((tmp_path / "best" / "metrics.json").read_text())["validation"]
    assert [exported["epoch"], exported["score"]] in trials[exported["trial"]]["values"]


# Killed, or out of room

EXPORT = """
import os, resource, signal, sys
from pathlib import Path
import torch
from tests.faults.by_hand import Life, digits_spec
from tuner import export
from tuner.bundle import checking
from tuner.errors import TunerError
from tuner.store.journal import MemoryJournal
from tuner.study import read_study

torch.set_num_threads(1)
checking._SECONDS = 0.0  # how fast the model is matters to nobody here
root, cache = Path(sys.argv[1]), Path(sys.argv[2])
life = Life(digits_spec(root / "storage", cache), cache, MemoryJournal())
life.train()
study = read_study(life.record.spec, life.record._journal, None)
real = {"write_config": export, "write_variant": export, "write_texts": export, "rename": os}


def run(case, moment):
    when, _, name = moment.partition(" ")
    calls = []

    def deadly(*arguments, **keywords):
        calls.append(1)
        if when == "before" or (when == "between" and len(calls) == 2):
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **keywords)
        if when == "after" and len(calls) == (2 if case.startswith("old") and name == "rename" else 1):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    if name in real:
        function = getattr(real[name], name)
        setattr(real[name], name, deadly)
    if when == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(name), resource.RLIM_INFINITY))
    try:
        export.export_best(study, root / case / "best", cache=cache, force=True, say=lambda line: None)
    except TunerError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (root / case / "error").write_text(type(error).__name__ + ": " + str(error))


# A process for each case, that need not import everything again.
for number, moment in enumerate(sys.argv[3:]):
    for kind in ("new", "old"):
        case = f"{kind}-{number}"
        child = os.fork()
        if not child:
            run(case, moment)
            os._exit(0)
        print(case, os.waitpid(child, 0)[1], flush=True)
"""
MOMENTS = [
    "before write_config",
    "after write_variant",
    "after write_texts",
    "before rename",
    "between rename",
    "after rename",
]
LIMITS = ["full 500", "full 20000"]  # bytes a file


def content(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def ended(cache, tmp_path_factory):
    """An export that ends at each moment, into a folder that is not there (new-N) or holds an export (old-N): where
    that was, what the old export held, and how the process ended, by case."""
    root = tmp_path_factory.mktemp("exports")
    digits_spec(root, cache)  # decodes the data set
    for number in range(len(MOMENTS) + len(LIMITS)):
        (root / f"new-{number}").mkdir()
        (root / f"old-{number}" / "best").mkdir(parents=True)
        for name in FILES:
            (root / f"old-{number}" / "best" / name).write_text("old")
    arguments = [sys.executable, "-c", EXPORT, str(root), str(cache), *MOMENTS, *LIMITS]
    result = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert result.returncode == 0, result.stderr
    status = dict(line.split() for line in result.stdout.splitlines() if not line.startswith("trial "))
    return root, dict.fromkeys(FILES, hashlib.sha256(b"old").hexdigest()), status


@pytest.mark.parametrize("kind", ["new", "old"])
@pytest.mark.parametrize("number", range(len(MOMENTS)), ids=MOMENTS)
def test_an_export_that_is_killed_leaves_the_folder_absent_or_old_or_whole(ended, kind, number):
    root, old, status = ended
    case = f"{kind}-{number}"
    out = root / case / "best"
    one_rename_only = (kind, MOMENTS[number]) == ("new", "between rename")
    assert int(status[case]) == (0 if one_rename_only else signal.SIGKILL)
    done = one_rename_only or MOMENTS[number] == "after rename"
    if done:
        assert sorted(content(out)) == sorted(FILES)
        load_exported(out)
    elif kind == "new" or MOMENTS[number] == "between rename":
        assert not out.exists()
    else:
        assert content(out) == old
    left = [path for path in out.parent.iterdir() if path != out]
    assert len(left) == (0 if one_rename_only else 1)
    assert all(path.name.startswith(".best.export-") for path in left)


def test_the_next_export_names_what_a_killed_one_left_and_is_not_disturbed_by_it(ended, life, cache):
    root, old, _ = ended
    out = root / f"old-{MOMENTS.index('between rename')}" / "best"
    (left,) = out.parent.iterdir()
    lines = []
    export_best(study_of(life), out, cache=cache, say=lines.append)
    assert lines[0] == (
        f"{left} is of an export that was killed, or that still runs (the export before it is in old/ there): "
        f"delete it if none does"
    )
    assert content(left / "old") == old
    load_exported(out)


@pytest.mark.parametrize("kind", ["new", "old"])
@pytest.mark.parametrize("number", range(len(LIMITS)), ids=LIMITS)
def test_an_export_to_a_full_disk_is_one_line_and_leaves_the_folder_as_it_was(ended, kind, number):
    root, old, status = ended
    case = f"{kind}-{len(MOMENTS) + number}"
    out = root / case / "best"
    assert int(status[case]) == 0
    assert (root / case / "error").read_text() == f"ExportError: cannot write the export to {out}: File too large"
    assert sorted(path.name for path in (root / case).iterdir()) == (["best", "error"] if kind == "old" else ["error"])
    if kind == "old":
        assert content(out) == old
