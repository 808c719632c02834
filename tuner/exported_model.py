"""An exported classifier as files: how they are written, and how PyTorch reads its own back.

Shapes: N pictures, C channels, H height and W width in pixels, K classes.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from tuner.errors import ExportError, UsageError, first_line
from tuner.export_folder import CONFIG_FILE
from tuner.training.config import Hyperparameters
from tuner.training.models import load_state
from tuner.training.modelspec import ModelSpec
from tuner.training.networks import FAMILY, Architecture
from tuner.training.own_model import BuildFunction, OwnNetwork
from tuner.training.transfer import TorchvisionNetwork

FORMAT = 1
WEIGHTS_FILE, ONNX_FILE = "weights.safetensors", "model.onnx"
_CONFIG_KEYS = ("hyperparameters", "input", "classes", "mean", "std")
# Of networks other than the built-in ones; no path of the machine that searched.
_MODEL_KEYS = ("name", "sha256", "weights_sha256", "mean", "std")


class PictureClassifier(nn.Module):
    """A trained network with all that is between a decoded picture and its probabilities.

    network: as `models.build` makes it; mean, std: C values each, on the scale 0..255 of the pictures.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Pictures, uint8 N x H x W x C, to class probabilities, float32 N x K."""
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)
        return torch.softmax(self.network((pixels - self.mean) / self.std), dim=1)


def build_classifier(
    description: Mapping[str, Any], weights: Mapping[str, Tensor], build: BuildFunction | None = None
) -> PictureClassifier:
    """Build the classifier that `description` (hyperparameters, input, classes, mean, std, and of other networks than
    the built-in ones model and params, as a checkpoint's JSON has them) and `weights` (state dict of the network)
    define, in evaluation mode.

    build: the function of a network of one's own. Raises ExportError if it is missing, and what it raises.
    """
    shape = description["input"]
    network = _architecture(description.get("model"), build).build(
        Hyperparameters.from_params(description["hyperparameters"]),
        description.get("params", {}),
        (shape["channels"], shape["height"], shape["width"]),
        len(description["classes"]),
    )
    load_state(network, weights)
    return PictureClassifier(network, description["mean"], description["std"]).eval()


def _architecture(model: Mapping[str, Any] | None, build: BuildFunction | None) -> Architecture:
    if model is None:
        return FAMILY
    spec = ModelSpec.from_dict(model)
    if not spec.own:
        return TorchvisionNetwork(spec)
    if build is None:
        raise ExportError(
            f"the network is one of {spec.name}, which is code and not run unasked: import that function and give it, "
            "load_exported(folder, function)"
        )
    return OwnNetwork(spec, build)


def write_config(folder: Path, description: Mapping[str, Any]) -> None:
    """Write `config.json`, which together with weights is what `load_exported` rebuilds the classifier from."""
    config = {"format": FORMAT, **{key: description[key] for key in _CONFIG_KEYS}}
    if "model" in description:
        config["model"] = {key: description["model"][key] for key in _MODEL_KEYS}
        config["params"] = description["params"]
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_exported(folder: Path, build: BuildFunction | None = None, weights: str = WEIGHTS_FILE) -> PictureClassifier:
    """Rebuild an exported classifier on the CPU, in evaluation mode; it maps uint8 N x H x W x C to probabilities
    float32 N x K.

    build: for a network of one's own, the function that was searched with; the export keeps its source in `model`.
    weights: the file with the weights; those in half precision become float32 again.

    Raises ExportError if `folder` holds no export, a damaged one, or one that a newer version wrote.
    """
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        found = config["format"]
        if found == FORMAT:
            return build_classifier(config, safetensors.torch.load((folder / weights).read_bytes()), build)
    except OSError as error:
        raise ExportError(f"{folder} holds no exported model: {error.strerror} ({error.filename})") from error
    # RuntimeError is what load_state_dict raises for weights of another network.
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError, UsageError) as error:
        reason = str(error).splitlines()[0]
        raise ExportError(f"the exported model in {folder} is damaged ({reason}): export it again") from error
    raise ExportError(f"the exported model in {folder} has format {found!r}, this version reads format {FORMAT}")


def write_onnx(
    path: Path, classifier: PictureClassifier, input_shape: Mapping[str, int], metadata: Mapping[str, str]
) -> None:
    """Write one ONNX file, weights inside: input `images` uint8 N x H x W x C, output `probabilities` float32 N x K,
    any N.

    input_shape: height, width, channels. metadata: becomes the model's metadata_props. Raises ExportError if the
    network does something that has no counterpart in ONNX.
    """
    # Two pictures: torch.export takes a size of 1 for a constant.
    example = torch.zeros((2, input_shape["height"], input_shape["width"], input_shape["channels"]), dtype=torch.uint8)
    try:
        with quiet_exporter():
            program = torch.onnx.export(
                classifier,
                (example,),
                input_names=["images"],
                output_names=["probabilities"],
                dynamic_shapes=({0: torch.export.Dim("N")},),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # of the exporter's stages; a network of the user's may do anything
        raise ExportError(f"the network cannot be written as ONNX: {_cause(error)}; --debug shows more") from error
    assert program is not None, "the dynamo exporter returns a program"
    model = program.model_proto
    # The exporter notes for each node the source lines it came from, with the paths of this machine.
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _cause(error: BaseException) -> str:
    """What made the exporter fail: its own texts are pages on how to report it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {first_line(error)}"


@contextlib.contextmanager
def quiet_exporter() -> Iterator[None]:
    """The exporter reports its progress by print, warnings and loggers, which differ from version to version; what
    goes wrong it raises."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
