"""The files of a model in each format and precision: how they are written, and how each is run to be measured.

Shapes: N pictures, H height and W width in pixels, C channels, K classes.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import safetensors.torch
import torch
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization import registry
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from tuner.bundle.formats import Variant
from tuner.errors import ExportError, first_line
from tuner.exported_model import PictureClassifier, load_exported, quiet_exporter, write_onnx
from tuner.training.own_model import BuildFunction

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Pictures, N x H x W x C, to probabilities, N x K."""

CALIBRATION_PICTURES = 1024
_CALIBRATION_BATCH = 64
_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


class _Half(nn.Module):
    """A network with half-precision weights between float32 pictures and float32 logits: softmax stays exact."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).to(dtype)
        self.dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.to(self.dtype)).to(torch.float32)
        return logits


def write_variant(
    folder: Path,
    variant: Variant,
    classifier: PictureClassifier,
    input_shape: Mapping[str, int],
    metadata: Mapping[str, str],
    calibration: NDArray[np.uint8],
) -> None:
    """Write one file of `classifier` to `folder`.

    input_shape: height, width, channels. metadata: what the file says of itself, where its format can. calibration:
    pictures, N x H x W x C, whose activations show the ranges that int8 has to span. `int8` is made from the fp32 file
    that is in the folder already. Raises ExportError if the network cannot be written so.
    """
    path = folder / variant.file
    if variant.precision == "int8":
        _quantize(folder / Variant("onnx").file, path, calibration, metadata)
        return
    if variant.format == "safetensors":
        weights = {name: _cast(tensor, variant) for name, tensor in classifier.network.state_dict().items()}
        path.write_bytes(safetensors.torch.save(weights))
        return
    if variant.precision in _DTYPES:
        mean, std = classifier.mean.flatten().tolist(), classifier.std.flatten().tolist()
        classifier = PictureClassifier(_Half(classifier.network, _DTYPES[variant.precision]), mean, std).eval()
    if variant.format == "onnx":
        write_onnx(path, classifier, input_shape, metadata)
    else:
        _write_pt2(path, classifier, input_shape, metadata)


def open_variant(folder: Path, variant: Variant, build: BuildFunction | None, threads: int = 0) -> Run:
    """What was written, as a function; from the file, not from memory.

    build: of a network of the user's own. threads: of onnxruntime, 0 for as many as it likes; PyTorch's are the
    process's own.
    """
    path = folder / variant.file
    if variant.format == "onnx":
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda images: session.run(["probabilities"], {"images": images})[0]
    if variant.format == "pt2":
        return pytorch_run(torch.export.load(path).module())
    return pytorch_run(load_exported(folder, build, weights=variant.file))


def pytorch_run(model: nn.Module) -> Run:
    """`model`, which maps uint8 tensors to probabilities, as a function of arrays."""

    def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            # A copy, for the test pictures' memory must not be written to, of which torch has no notion.
            probabilities: NDArray[np.float32] = model(torch.from_numpy(images.copy())).numpy()
        return probabilities

    return run


def _cast(tensor: Tensor, variant: Variant) -> Tensor:
    dtype = _DTYPES.get(variant.precision)
    return (tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor).contiguous()


def _write_pt2(
    path: Path, classifier: PictureClassifier, input_shape: Mapping[str, int], metadata: Mapping[str, str]
) -> None:
    # Two pictures: torch.export takes a size of 1 for a constant.
    example = torch.zeros((2, input_shape["height"], input_shape["width"], input_shape["channels"]), dtype=torch.uint8)
    try:
        with quiet_exporter():
            program = torch.export.export(classifier, (example,), dynamic_shapes=({0: torch.export.Dim("N")},))
            for node in program.graph.nodes:
                # The source lines that it came from, with the paths of this machine.
                node.meta.pop("stack_trace", None)
            torch.export.save(program, path, extra_files={"metadata.json": json.dumps(dict(metadata))})
    except OSError:
        raise
    except Exception as error:  # of the exporter's stages; a network of the user's may do anything
        raise ExportError(f"the network cannot be written by torch.export: {first_line(error)}") from error


class _Pictures(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Batches of pictures for onnxruntime's calibration."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        starts = range(0, len(images), _CALIBRATION_BATCH)
        self._batches: Iterator[NDArray[np.uint8]] = (images[start : start + _CALIBRATION_BATCH] for start in starts)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The next batch by the name of the model's input, None after the last."""
        images = next(self._batches, None)
        return None if images is None else {"images": images}


def _quantize(exact: Path, path: Path, calibration: NDArray[np.uint8], metadata: Mapping[str, str]) -> None:
    """Static quantisation in the QDQ format: activations uint8, weights int8 by channel with 7 of the 8 bits, so that
    CPUs without VNNI, whose sums of two products saturate, compute what was measured here."""
    # Of probabilities in 1/256 nothing could be said; BatchNorm that was not folded into a convolution costs nothing.
    kinds = sorted({*registry.QDQRegistry, *registry.QLinearOpsRegistry} - {"Softmax", "BatchNormalization"})
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch, quiet_exporter():
        folded = Path(scratch, "folded.onnx")
        try:
            quant_pre_process(exact, folded, skip_symbolic_shape=True)
            quantization.quantize_static(
                folded,
                path,
                _Pictures(calibration),
                op_types_to_quantize=kinds,
                per_channel=True,
                reduce_range=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
        except OSError:
            raise
        except Exception as error:  # onnxruntime has a class of its own for each thing that goes wrong
            raise ExportError(f"onnxruntime cannot quantise the network: {first_line(error)}") from error
    model = onnx.load(path)
    onnx.helper.set_model_props(model, dict(metadata))
    path.write_bytes(model.SerializeToString())


def calibration_pictures(images: NDArray[np.uint8], indices: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Up to `CALIBRATION_PICTURES` of `images[indices]`, evenly spread: the splits are sorted by class in some sets."""
    chosen = np.linspace(0, len(indices) - 1, min(len(indices), CALIBRATION_PICTURES)).astype(np.int64)
    pictures: NDArray[np.uint8] = images[indices[chosen]]
    return pictures
