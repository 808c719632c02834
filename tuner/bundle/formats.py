"""Which files a model is exported as: formats, and how exactly their numbers are kept. Needs neither torch nor onnx."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.errors import UsageError

FORMATS = {"onnx": "model{}.onnx", "pt2": "model{}.pt2", "safetensors": "weights{}.safetensors"}
"""Name -> file, with a place for what is not fp32. pt2 is what `torch.export.save` writes."""
DEFAULT = ("onnx", "safetensors")
HALVES = ("fp16", "bf16")
QUANTIZED = ("int8",)


@dataclass(frozen=True)
class Variant:
    """One file of a model. format: of `FORMATS`; precision: fp32, fp16, bf16 or int8."""

    format: str
    precision: str = "fp32"

    @property
    def file(self) -> str:
        """Its name in the bundle."""
        return FORMATS[self.format].format("" if self.precision == "fp32" else f"-{self.precision}")


@dataclass(frozen=True)
class Formats:
    """What a user asked for.

    names: of `FORMATS`. half: a second file of each in half precision, `fp16` or `bf16`. quantize: `int8`, a further
    ONNX file. max_drop: points (hundredths) of accuracy on the test split that a file with less precision may lose.
    Raises UsageError for what there is not, and what does not go together.
    """

    names: tuple[str, ...] = DEFAULT
    half: str | None = None
    quantize: str | None = None
    max_drop: float = 0.5

    def __post_init__(self) -> None:
        for name in self.names:
            _refuse_unknown("format", name, tuple(FORMATS))
        _refuse_unknown("half", self.half, HALVES)
        _refuse_unknown("quantize", self.quantize, QUANTIZED)
        if not self.names:
            raise UsageError(f"no format to export: give some of {', '.join(FORMATS)}")
        if not 0 <= self.max_drop <= 100:
            raise UsageError(
                f"max-drop = {self.max_drop:g} is not allowed: it must be from 0 to 100 points of accuracy"
            )
        if self.quantize and "onnx" not in self.names:
            raise UsageError("--quantize makes a second ONNX file: give --format onnx too")
        if self.half == "bf16" and set(self.names) == {"onnx"}:
            raise UsageError(
                "onnxruntime computes nothing in bf16 on CPUs: give --half fp16, or --format pt2 or safetensors too"
            )

    @property
    def variants(self) -> tuple[Variant, ...]:
        """All files, in the order in which they are written: fp32 first. No ONNX file is in bf16."""
        names = [name for name in FORMATS if name in self.names]
        files = [Variant(name) for name in names]
        if self.half:
            files += [Variant(name, self.half) for name in names if (name, self.half) != ("onnx", "bf16")]
        if self.quantize:
            files.append(Variant("onnx", self.quantize))
        return tuple(files)


def _refuse_unknown(option: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise UsageError(f"{option} {value!r} is not known: give one of {', '.join(known)}")
