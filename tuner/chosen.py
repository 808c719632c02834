"""The network of a search other than the built-in family: found, tried and kept before the first trial.

Imports torch where it is used, for it is looked at by every search.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.configurations import exists, in_drawing_order
from tuner.errors import TunerError, UsageError
from tuner.progress import format_params
from tuner.retention import model_folder
from tuner.space import Space
from tuner.spec import StudySpec
from tuner.training.config import Hyperparameters, Value
from tuner.training.dataspec import DataInfo
from tuner.training.modelspec import ModelSpec

if TYPE_CHECKING:
    from torch import nn

    from tuner.training.networks import Architecture
    from tuner.training.summary import LayerSummary


@dataclass(frozen=True)
class Chosen:
    """The network that a search is to train. folder: where the user's modules are; files: what the study will keep,
    path -> content; notes: lines for people."""

    network: Architecture
    folder: Path
    files: dict[str, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> ModelSpec:
        """Its record, so far."""
        assert self.network.spec is not None
        return self.network.spec


def choose_network(space: Space | None, *, pretrained: bool = False, weights: Path | None = None) -> Chosen | None:
    """Import the user's function, or find torchvision's network and its weights; None for the built-in family.

    Raises UsageError for what is not there, cannot be imported, read or downloaded, or does not go together.
    """
    name = space.model if space is not None else ""
    wants_weights = pretrained or weights is not None
    model = ModelSpec(name) if name else None
    if model is None or model.own:
        if wants_weights:
            option = "--weights" if weights is not None else "--pretrained"
            raise UsageError(f"{option} is for torchvision networks, --model torchvision:NAME")
        return None if model is None else _own(model)
    from tuner.training.transfer import TorchvisionNetwork, check_builder

    if pretrained and weights is not None:
        raise UsageError("--pretrained and --weights are two ways to begin: give one of them")
    if wants_weights:
        return _with_weights(model, weights)
    check_builder(model.function)
    assert space is not None
    notes: tuple[str, ...] = ()
    if {"frozen_epochs", "unfrozen_lr_factor"} & {*space.dimensions, *space.constants}:
        notes = (f"the weights of {name} are random: --pretrained or --weights FILE begins with trained ones",)
    return Chosen(TorchvisionNetwork(model), Path.cwd(), notes=notes)


def _own(model: ModelSpec) -> Chosen:
    from tuner.training.own_model import OwnNetwork, import_here, source_sha256

    folder = Path.cwd()
    function = import_here(model.name, folder)
    return Chosen(OwnNetwork(replace(model, sha256=source_sha256(model.module)), function), folder)


def _with_weights(model: ModelSpec, file: Path | None) -> Chosen:
    import safetensors.torch

    from tuner.training.pretrained import find_weights
    from tuner.training.transfer import WEIGHTS_FILE, TorchvisionNetwork, body_of, new_network

    weights = find_weights(model.function, file)
    body = body_of(new_network(model.function, 2, pretrained=True), weights.tensors, weights.source)
    content = safetensors.torch.save(body)
    model = replace(
        model,
        files={WEIGHTS_FILE: hashlib.sha256(content).hexdigest()},
        weights=weights.source,
        weights_sha256=weights.sha256,
        mean=weights.mean,
        std=weights.std,
    )
    note = f"{model.name} begins with the weights of {weights.source} (SHA-256 {weights.sha256[:12]}...)"
    return Chosen(TorchvisionNetwork(model), Path.cwd(), {WEIGHTS_FILE: content}, (note,))


def tried(chosen: Chosen, spec: StudySpec, info: DataInfo) -> tuple[ModelSpec, Chosen, str]:
    """Build the network of the first configuration and put pictures through it.

    Gives the record of the network, what is to be kept of it, and a line on the network. Raises
    UsageError in one line if it fails or gives no logits of the right shape.
    """
    from tuner.search.trials import first_params
    from tuner.training.models import parameter_count
    from tuner.training.own_model import local_sources

    model = chosen.model
    spec = replace(spec, model=model)
    params = first_params(spec)
    shape, classes = (info.channels, info.height, info.width), len(info.classes)
    hp = spec.hyperparameters(params)
    network = _build(chosen, hp, spec.all_params(params), shape, classes, told=format_params(params))
    line = f"network {model.name}: {parameter_count(network):,} parameters in the first configuration"
    if not model.own:
        return model, chosen, line
    files = local_sources(chosen.folder)
    hashes = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    kept = f"; the study keeps {', '.join(files)}" if files else ""
    return replace(model, files=hashes), replace(chosen, files=files), line + kept


def _build(
    chosen: Chosen, hp: Hyperparameters, params: dict[str, Value], shape: tuple[int, int, int], classes: int, told: str
) -> nn.Module:
    """Build and check the network of a configuration, which the line calls `told`, the random numbers of this process
    left as they are."""
    import torch

    from tuner.training.own_model import check_training, describe_error

    try:
        with torch.random.fork_rng(devices=[]):
            network = chosen.network.build(hp, params, shape, classes)
            check_training(chosen.model.name, network, shape, classes)
    except TunerError as error:
        raise UsageError(f"{error} (the first configuration: {told})") from error
    except (Exception, SystemExit) as error:  # whatever the user's function does
        why = describe_error(error, chosen.folder)
        raise UsageError(f"{chosen.model.name} fails for the first configuration ({told}): {why}") from error
    return network


def parts_of(space: Space, shape: tuple[int, int, int], classes: int) -> tuple[list[LayerSummary], str]:
    """The parts of the network that `space` names, for pictures (C, H, W), and in words for which configuration.

    Raises UsageError if it cannot be built.
    """
    from tuner.training.summary import summarise_parts

    chosen = choose_network(space)
    assert chosen is not None
    start: dict[str, Value] = dict(space.start)
    if not space.start:
        for name in in_drawing_order(space.dimensions):
            table = space.dimensions[name]
            if exists(table, start):
                start[name] = table["choices"][0] if table["type"] == "choice" else table["low"]
    params = {**space.constants, **start}
    hp = Hyperparameters.from_params(params, own_network=chosen.model.own)
    network = _build(chosen, hp, params, shape, classes, told=format_params(start))
    return summarise_parts(network, shape), "[start]" if space.start else "the lowest values of what is searched"


def sources_of(space: Space | None) -> dict[str, bytes]:
    """The sources that a search on another machine needs of the user's network, path below the current folder ->
    content. Raises UsageError if it cannot be imported here."""
    model = ModelSpec(space.model) if space is not None and space.model else None
    if model is None or not model.own:
        return {}
    from tuner.training.own_model import local_sources

    return local_sources(_own(model).folder)


def keep(spec: StudySpec, files: Mapping[str, bytes]) -> None:
    """Write `files` to the study's storage, where all machines see them. Raises TunerError if that fails."""
    folder = model_folder(spec.storage, spec.name)
    try:
        for path, content in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.partial")
            partial.write_bytes(content)
            os.replace(partial, target)
    except OSError as error:
        raise TunerError(
            f"the network cannot be kept in {folder} ({error.strerror or error}): give another --storage"
        ) from error


def check_kept(spec: StudySpec, say: Callable[[str], None]) -> None:
    """Look, before a study goes on, whether its network can still be made; says if the user's source changed.

    Files that are not there, since the search ended before it had kept them, are taken from the current folder where
    they are the same. Raises CheckpointError if one is missing or damaged, UsageError if it cannot be imported.
    """
    if spec.model is None:
        return
    from tuner.training.networks import open_network

    here, folder = Path.cwd(), model_folder(spec.storage, spec.name)
    changed = []
    for path, sha256 in spec.model.files.items():
        content = (here / path).read_bytes() if (here / path).is_file() else None
        if content is None:
            continue
        if hashlib.sha256(content).hexdigest() != sha256:
            changed.append(path)
        elif not (folder / path).exists():
            keep(spec, {path: content})
    open_network(spec.model, folder)
    if changed:
        say(f"note: {', '.join(changed)} here is not what the study began with; it goes on with its own, in {folder}")
