from __future__ import annotations

import pytest

from tuner.bundle.formats import Formats
from tuner.errors import UsageError


@pytest.mark.parametrize(
    ("formats", "files"),
    [
        (Formats(), ["model.onnx", "weights.safetensors"]),
        (Formats(("pt2",)), ["model.pt2"]),
        (Formats(("pt2", "onnx", "pt2"), quantize="int8"), ["model.onnx", "model.pt2", "model-int8.onnx"]),
        (
            Formats(half="fp16"),
            ["model.onnx", "weights.safetensors", "model-fp16.onnx", "weights-fp16.safetensors"],
        ),
        (Formats(half="bf16"), ["model.onnx", "weights.safetensors", "weights-bf16.safetensors"]),
        (Formats(("onnx",), half="fp16", quantize="int8"), ["model.onnx", "model-fp16.onnx", "model-int8.onnx"]),
    ],
)
def test_each_format_has_its_file_and_less_precise_ones_come_after_the_exact_ones(formats, files):
    assert [variant.file for variant in formats.variants] == files


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"names": ("tflite",)}, "format 'tflite' is not known: give one of onnx, pt2, safetensors"),
        ({"names": ()}, "no format to export"),
        ({"half": "fp8"}, "half 'fp8' is not known: give one of fp16, bf16"),
        ({"quantize": "int4"}, "quantize 'int4' is not known: give one of int8"),
        ({"names": ("pt2",), "quantize": "int8"}, "--quantize makes a second ONNX file: give --format onnx too"),
        ({"names": ("onnx",), "half": "bf16"}, "onnxruntime computes nothing in bf16 on CPUs: give --half fp16"),
        ({"max_drop": -0.1}, "max-drop = -0.1 is not allowed: it must be from 0 to 100"),
        ({"max_drop": float("nan")}, "max-drop = nan is not allowed"),
    ],
)
def test_what_there_is_not_and_what_does_not_go_together_is_refused(given, message):
    with pytest.raises(UsageError, match=message):
        Formats(**given)
