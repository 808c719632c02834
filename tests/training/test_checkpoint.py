from __future__ import annotations

import builtins
import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tuner.errors import CheckpointError
from tuner.training import checkpoint
from tuner.training.checkpoint_ref import CheckpointRef

_TENSORS = {"model.w": torch.arange(6.0).view(2, 3), "model.n": torch.tensor(3), "rng.s": torch.arange(4).byte()}


def _write(folder: Path, kind: str = "epoch", epoch: int = 3) -> CheckpointRef:
    return checkpoint.write(folder, kind, _TENSORS, {"note": "ü"}, epoch, 0.5)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    ref = _write(tmp_path / "trial")
    assert ref == CheckpointRef(str(tmp_path / "trial/epoch-0003.safetensors"), ref.sha256, 3, 0.5)
    found = checkpoint.read(ref)
    assert found.state == {"note": "ü", "format": 1, "kind": "epoch", "epoch": 3, "score": 0.5}
    assert found.tensors.keys() == _TENSORS.keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in _TENSORS.items())
    assert found.group("model").keys() == {"w", "n"}


def test_channels_last_weights_are_stored_by_value(tmp_path: Path) -> None:
    kernel = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)
    ref = checkpoint.write(tmp_path, "best", {"k": kernel}, {}, 1, 0.1)
    assert torch.equal(checkpoint.read(ref).tensors["k"], kernel)


@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "empty"])
def test_changed_bytes_are_refused_before_they_are_parsed(tmp_path: Path, monkeypatch, damage: str) -> None:
    ref = _write(tmp_path)
    content = bytearray(Path(ref.path).read_bytes())
    content[-1] ^= 1
    changed = {"flip": content, "cut": content[:-4], "grow": content + b"x", "empty": b""}[damage]
    Path(ref.path).write_bytes(changed)

    def parse(*_: object, **__: object) -> None:
        raise AssertionError("parsed before it was verified")

    monkeypatch.setattr(json, "loads", parse)
    monkeypatch.setattr(safetensors.torch, "load", parse)
    with pytest.raises(CheckpointError, match="has changed since it was written"):
        checkpoint.read(ref)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    ref = CheckpointRef(str(tmp_path / "gone.safetensors"), "0" * 64, 1, 0.5)
    with pytest.raises(CheckpointError, match=r"cannot read the checkpoint .*gone\.safetensors: No such file"):
        checkpoint.read(ref)


def test_a_newer_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    ref = _write(tmp_path)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="has format 2, this version reads format 1"):
        checkpoint.read(ref)


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = _write(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"cannot write the checkpoint .*: No space left on device"):
        checkpoint.write(tmp_path, "epoch", {"other": torch.zeros(1)}, {}, 3, 0.9)
    assert checkpoint.read(ref).state["score"] == 0.5


def test_the_bytes_are_on_the_disk_before_they_get_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (steps.append("sync"), fsync(descriptor))[1])
    monkeypatch.setattr(os, "replace", lambda old, new: (steps.append("rename"), replace(old, new))[1])
    _write(tmp_path)
    assert steps == ["sync", "rename", "sync"]


def test_only_what_is_kept_stays_and_strangers_are_left_alone(tmp_path: Path) -> None:
    kept = [_write(tmp_path, "epoch", 2), _write(tmp_path, "best", 1)]
    _write(tmp_path, "epoch", 1)
    _write(tmp_path, "best", 0)
    (tmp_path / ".epoch-0003.safetensors.partial").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    elsewhere = CheckpointRef(str(tmp_path.parent / "epoch-0001.safetensors"), "", 1, 0.0)
    checkpoint.keep_only(tmp_path, [*kept, elsewhere])
    assert sorted(os.listdir(tmp_path)) == ["best-0001.safetensors", "epoch-0002.safetensors", "notes.txt"]


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(builtins, "eval", refuse)
    checkpoint.read(_write(tmp_path))
