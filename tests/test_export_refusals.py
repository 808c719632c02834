"""What is not exported, and where: one line, and nothing is left behind."""

import copy
import dataclasses
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tuner.bundle import writing
from tuner.bundle.checking import compare
from tuner.errors import CheckpointError, ExportError, UsageError
from tuner.export import FILES, export_best
from tuner.exported_model import write_onnx

pytestmark = pytest.mark.usefixtures("one_thread")


def changed(study, **changes):
    """The study with its complete trial changed."""
    return dataclasses.replace(study, trials=(study.trials[0], dataclasses.replace(study.trials[1], **changes)))


def refuses(error, study, out, cache, *, force=False):
    """Export, expect one line of `error` and a parent folder that is as it was before; gives the line."""
    before = {path: path.is_file() and path.read_bytes() for path in out.parent.rglob("*")}
    with pytest.raises(error) as caught:
        export_best(study, out, cache=cache, force=force, say=lambda line: None)
    assert {path: path.is_file() and path.read_bytes() for path in out.parent.rglob("*")} == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What is refused, and then nothing is written


def test_without_a_checkpoint_the_error_says_what_to_do(study, cache, tmp_path):
    stopped = dataclasses.replace(changed(study, best_checkpoint=None), trials_wanted=3)
    running = dataclasses.replace(stopped, driver={"host": "here"})
    complete = changed(study, best_checkpoint=None)
    assert [refuses(ExportError, each, tmp_path / "best", cache) for each in (running, stopped, complete)] == [
        "study numbers has no trained weights to export: wait for its first checkpoint",
        "study numbers has no trained weights to export: go on with: tuner resume numbers",
        "study numbers has no trained weights to export: no trial ended well, see: tuner trials numbers",
    ]


def test_a_checkpoint_with_one_byte_changed_is_not_exported(study, cache, tmp_path):
    kept = study.trials[1].best_checkpoint
    content = bytearray(Path(kept["path"]).read_bytes())
    content[-1] ^= 1
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(content)
    line = refuses(
        CheckpointError, changed(study, best_checkpoint={**kept, "path": str(damaged)}), tmp_path / "b", cache
    )
    assert f"the checkpoint {damaged} has changed since it was written" in line
    assert line.endswith("to export trial 1, put that file back as the search wrote it, or search again")


def test_a_missing_checkpoint_is_named(study, cache, tmp_path):
    kept = {**study.trials[1].best_checkpoint, "path": str(tmp_path / "gone.safetensors")}
    line = refuses(CheckpointError, changed(study, best_checkpoint=kept), tmp_path / "best", cache)
    assert line.startswith(f"cannot read the checkpoint {tmp_path / 'gone.safetensors'}: No such file or directory;")


@pytest.mark.parametrize("wrong", [{"score": 0.999}, {"epoch": 9}])
def test_weights_whose_score_the_trial_never_reported_are_not_exported(study, cache, tmp_path, wrong):
    kept = {**study.trials[1].best_checkpoint, **wrong}
    line = refuses(ExportError, changed(study, best_checkpoint=kept), tmp_path / "best", cache)
    assert f"claim score {kept['score']} at epoch {kept['epoch']}, which the trial never reported" in line


def test_a_data_set_that_changed_since_the_search_is_refused(study, cache, tmp_path):
    other = dataclasses.replace(study, spec=dataclasses.replace(study.spec, data_fingerprint="f" * 64))
    line = refuses(ExportError, other, tmp_path / "best", cache)
    assert line.startswith("data set digits is not the one that study numbers was created with")


def test_an_onnx_file_that_disagrees_with_pytorch_fails_the_export(study, cache, tmp_path, monkeypatch):
    def write_perturbed(path, classifier, input_shape, metadata):
        with torch.no_grad():
            perturbed = copy.deepcopy(classifier)
            perturbed.network[-1].bias[0] += 0.01
        write_onnx(path, perturbed, input_shape, metadata)

    monkeypatch.setattr(writing, "write_onnx", write_perturbed)
    line = refuses(ExportError, study, tmp_path / "best", cache)
    assert re.search(r"model\.onnx and PyTorch disagree .* differ by up to [\d.]+e-03 \(allowed are 0\.0001\)", line)


def test_numbers_that_are_none_never_agree():
    nothing = np.full((2, 3), np.nan, np.float32)
    with pytest.raises(ExportError, match="differ by up to nan"):
        compare("model.onnx", nothing, nothing)


def test_another_class_is_accepted_only_between_classes_that_tie():
    pytorch = np.array([[0.50001, 0.49999], [0.9, 0.1]], np.float32)
    onnx_tie = np.array([[0.49999, 0.50001], [0.9, 0.1]], np.float32)
    parity = compare("model.onnx", onnx_tie, pytorch)
    assert (parity.images, parity.differing_argmax) == (2, 1)
    with pytest.raises(ExportError, match="1 of 2 pictures get another class"):
        compare("model.onnx", np.array([[0.50001, 0.49999], [0.1, 0.9]], np.float32), pytorch)


# Where it is written


def test_an_empty_folder_is_filled_and_parents_are_made(study, cache, tmp_path):
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "new" / "deep"):
        export_best(study, out, cache=cache, say=lambda line: None)
        assert sorted(path.name for path in out.iterdir()) == sorted(FILES)


def test_a_folder_with_something_in_it_is_refused_without_force(study, cache, tmp_path):
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "notes.txt").write_text("mine")
    line = refuses(UsageError, study, tmp_path / "best", cache)
    assert line == f"{tmp_path / 'best'} is not empty: give another folder with --out, or replace it with --force"


def test_force_replaces_an_earlier_export_as_a_whole(study, cache, tmp_path):
    out = tmp_path / "best"
    out.mkdir()
    for name in (*FILES, "left-over.txt"):
        (out / name).write_text("old")
    export_best(study, out, cache=cache, force=True, say=lambda line: None)
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    assert (out / "labels.txt").read_text() != "old"
    assert list(tmp_path.iterdir()) == [out]


def test_force_never_deletes_a_folder_that_is_no_export(study, cache, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("mine")
    line = refuses(UsageError, study, tmp_path / "home", cache, force=True)
    assert f"{tmp_path / 'home'} is not an earlier export (it has no config.json)" in line


def test_a_file_in_the_way_is_refused_even_with_force(study, cache, tmp_path):
    (tmp_path / "best").write_text("mine")
    line = refuses(UsageError, study, tmp_path / "best", cache, force=True)
    assert line == f"{tmp_path / 'best'} is a file: give a folder for the export with --out"
    assert refuses(UsageError, study, tmp_path / "best" / "deeper", cache) == line


def test_when_the_new_folder_cannot_take_the_place_the_old_export_is_put_back(study, cache, tmp_path, monkeypatch):
    out = tmp_path / "best"
    out.mkdir()
    for name in FILES:
        (out / name).write_text("old")
    rename = os.rename

    def rename_failing_once(source, destination):
        if os.path.basename(source) == "new":
            raise OSError(28, "No space left on device")
        rename(source, destination)

    monkeypatch.setattr(os, "rename", rename_failing_once)
    line = refuses(ExportError, study, out, cache, force=True)
    assert line == f"cannot write the export to {out}: No space left on device"
