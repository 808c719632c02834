"""Checkpoint files: tensors and the JSON that belongs to them in one safetensors file, under one hash.

    FOLDER/epoch-0003.safetensors   everything that the next epoch needs
    FOLDER/best-0002.safetensors    the weights of the best epoch

One trial writes to a folder at a time. A file appears under its name whole or not at all. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from tuner import failpoints
from tuner.errors import CheckpointError
from tuner.training.checkpoint_ref import CheckpointRef

FORMAT = 1
_STATE_KEY = "tuner"
_PATTERNS = ("epoch-*.safetensors", "best-*.safetensors", ".*.safetensors.partial")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and verified: its tensors, on the CPU, and its JSON."""

    tensors: dict[str, Tensor]
    state: dict[str, Any]

    def group(self, name: str) -> dict[str, Tensor]:
        """The tensors called `name`.something, by that something; `model` is a state dict of the network."""
        return {key[len(name) + 1 :]: tensor for key, tensor in self.tensors.items() if key.startswith(name + ".")}


@dataclass(frozen=True)
class SavedCheckpoints:
    """The two files that one save leaves: the last epoch's full state and the best epoch's weights."""

    last: CheckpointRef
    best: CheckpointRef


def write(
    folder: Path, kind: str, tensors: Mapping[str, Tensor], state: Mapping[str, Any], epoch: int, score: float
) -> CheckpointRef:
    """Write `FOLDER/<kind>-<epoch>.safetensors`, on disk when this returns.

    kind: `epoch` or `best`; state: JSON-able. Raises CheckpointError if the folder cannot be written.
    """
    text = json.dumps({**state, "format": FORMAT, "kind": kind, "epoch": epoch, "score": score}, allow_nan=False)
    dense = {name: tensor.contiguous() for name, tensor in tensors.items()}
    content = safetensors.torch.save(dense, metadata={_STATE_KEY: text})
    path = (folder / f"{kind}-{epoch:04d}.safetensors").absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_atomically(path, content)
    except OSError as error:
        raise CheckpointError(f"cannot write the checkpoint {path}: {error.strerror or error}") from error
    return CheckpointRef(str(path), hashlib.sha256(content).hexdigest(), epoch, score)


def read(ref: CheckpointRef) -> Checkpoint:
    """Read a checkpoint. Raises CheckpointError if it is missing, if its bytes are not those that `ref` vouches for
    (checked before anything is parsed), if those are no checkpoint, or if a newer version wrote it."""
    try:
        content = Path(ref.path).read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {ref.path}: {error.strerror or error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != ref.sha256:
        raise CheckpointError(
            f"the checkpoint {ref.path} has changed since it was written: SHA-256 {found[:12]}..., not "
            f"{ref.sha256[:12]}... as recorded"
        )
    try:
        # The file's layout: the header's length as 8 bytes little-endian, then the header as JSON.
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        state = json.loads(header["__metadata__"][_STATE_KEY])
        found_format = state["format"]
        tensors = safetensors.torch.load(content) if found_format == FORMAT else {}
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"{ref.path} is no checkpoint of this program, whoever recorded it") from error
    if found_format != FORMAT:
        raise CheckpointError(
            f"the checkpoint {ref.path} has format {found_format}, this version reads format {FORMAT}: "
            f"use the version that wrote it"
        )
    return Checkpoint(tensors, state)


def keep_only(folder: Path, kept: Iterable[CheckpointRef]) -> None:
    """Remove every checkpoint file of `folder` that is not in `kept`, and what interrupted writes left.

    Raises CheckpointError if one cannot be removed.
    """
    names = {Path(ref.path).name for ref in kept if Path(ref.path).parent == folder.absolute()}
    _remove(path for path in _trial_files(folder) if path.name not in names)


def _trial_files(folder: Path) -> list[Path]:
    return [path for pattern in _PATTERNS for path in folder.glob(pattern)]


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(f"cannot remove the checkpoint {path}: {error.strerror or error}") from error


def _write_atomically(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        failpoints.reach("before-checkpoint-renamed")
        os.replace(partial, path)
        failpoints.reach("after-checkpoint-renamed")
    except OSError:
        # On a full disk the half that was written is in everybody's way.
        with suppress(OSError):
            partial.unlink()
        raise
    # Without this the name itself may be gone after a power cut, although its bytes are on the disk.
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
