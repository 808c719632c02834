"""Every hyperparameter that a trial has: its meaning, default and allowed range. Needs no torch.

A search space names some of these as dimensions or constants; the rest keep their defaults. The classic Keras-style
CNNs are points of the family: `Hyperparameters(depth=2, width=32, padding="valid", norm="none", head="flatten",
dense=128)` is conv 32 - pool - conv 64 - pool - flatten - dense 128. A default never changes: checkpoints and studies
that were written before a hyperparameter existed are read with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import Any

from tuner.errors import UsageError

Value = int | float | str


def _integer(default: int, low: int, high: int, meaning: str) -> Any:
    return field(default=default, metadata={"type": int, "low": low, "high": high, "meaning": meaning})


def _number(default: float, low: float, high: float, meaning: str) -> Any:
    return field(default=default, metadata={"type": float, "low": low, "high": high, "meaning": meaning})


def _choice(default: str, choices: tuple[str, ...], meaning: str) -> Any:
    return field(default=default, metadata={"type": str, "choices": choices, "meaning": meaning})


@dataclass(frozen=True)
class Hyperparameters:
    """One trial's configuration. Build it with `from_params`, which checks every value."""

    depth: int = _integer(3, 1, 8, "stages of convolution, max pooling, norm, activation")
    width: int = _integer(32, 1, 2048, "channels of the first stage; doubles with each stage")
    width_cap: int = _integer(512, 1, 4096, "most channels that a stage may have")
    convs_per_stage: int = _integer(1, 1, 4, "convolutions before each pooling")
    kernel_size: int = _integer(3, 1, 11, "side of the convolution kernels in pixels, odd")
    padding: str = _choice("same", ("same", "valid"), "'same' keeps the picture's size, 'valid' is Keras's default")
    activation: str = _choice("relu", ("relu", "gelu", "silu", "tanh", "sigmoid"), "after each convolution and dense")
    pooled_stages: int = _integer(8, 0, 8, "stages, from the first, that end with pooling")
    pooling: str = _choice("max", ("max", "avg"), "2 x 2, at the end of each stage while the picture allows it")
    norm: str = _choice("batch", ("batch", "none"), "after each convolution")
    residual_blocks: int = _integer(0, 0, 8, "blocks of two convolutions and a shortcut after each stage's pooling")
    dropout: float = _number(0.0, 0.0, 0.95, "share of activations dropped after each stage")
    head: str = _choice("global", ("global", "flatten"), "global average pooling, or all positions flattened")
    dense: int = _integer(0, 0, 8192, "units of a dense layer before the classifier; 0 is none")
    dense_dropout: float = _number(0.0, 0.0, 0.95, "share of activations dropped before the classifier")
    output: str = _choice(
        "softmax", ("softmax", "sigmoid"), "a unit a class, or for two classes one with binary cross-entropy"
    )
    init: str = _choice(
        "he", ("he", "glorot"), "initial kernels; with 'he' tanh, sigmoid and the classifier have glorot's"
    )
    optimizer: str = _choice(
        "sgd", ("sgd", "adamw", "adam"), "SGD with Nesterov momentum, AdamW, or Adam, which has l2 in its gradient"
    )
    lr: float = _number(0.05, 1e-7, 10.0, "peak learning rate")
    momentum: float = _number(0.9, 0.0, 0.999, "of SGD; beta 1 of AdamW and Adam")
    l2: float = _number(
        5e-3, 0.0, 1.0, "decoupled weight decay of convolution and dense kernels, times lr; for Adam in the gradient"
    )
    l1: float = _number(0.0, 0.0, 1.0, "what the same kernels' values shrink by towards 0 in a step, times lr")
    batch_size: int = _integer(128, 2, 65536, "pictures a step")
    warmup_epochs: float = _number(1.0, 0.0, 100.0, "epochs of linear warm-up to the peak learning rate")
    schedule: str = _choice(
        "cosine", ("cosine", "constant", "exponential", "plateau"), "learning rate after the warm-up"
    )
    lr_decay: float = _number(0.95, 0.01, 1.0, "factor on the learning rate each epoch, if 'exponential'")
    plateau_factor: float = _number(0.3, 0.001, 1.0, "factor on the learning rate at each plateau, if 'plateau'")
    plateau_patience: int = _integer(3, 1, 1000, "epochs without a better validation score that are a plateau")
    stop_patience: int = _integer(0, 0, 1000, "epochs without a better validation score that end a trial; 0: none do")
    label_smoothing: float = _number(0.0, 0.0, 0.9, "share of the target spread over all classes")
    class_weight: str = _choice(
        "none", ("none", "balanced"), "'balanced' has each class count the same in the training loss"
    )
    augment: float = _number(0.0, 0.0, 1.0, "strength of augmentation, 0 none to 1 strong")
    rotation_degrees: float = _number(0.0, 0.0, 180.0, "largest rotation of each picture, beside that of augment")
    shift: float = _number(0.0, 0.0, 0.5, "largest shift, as a share of the side, beside that of augment")
    shear: float = _number(0.0, 0.0, 0.5, "largest shear, as a share of the side, beside that of augment")
    zoom: float = _number(0.0, 0.0, 0.5, "largest zoom in or out, beside that of augment")
    fill: str = _choice("reflect", ("reflect", "nearest"), "what moved pictures show beyond their border")
    flip: str = _choice("auto", ("auto", "on", "off"), "horizontal flips; 'auto' asks the data set (off for digits)")
    frozen_epochs: int = _integer(0, 0, 1000, "first epochs, in which only the last layer learns (torchvision)")
    unfrozen_lr_factor: float = _number(1.0, 1e-6, 10.0, "factor on the learning rate of all epochs after those")

    @classmethod
    def from_params(cls, params: Mapping[str, object], *, own_network: bool = False) -> Hyperparameters:
        """Check and convert `params`. Raises UsageError naming the key, the value and the allowed range.

        own_network: for a network by the user's own function, whose names are not among them: they are left out.
        """
        checked: dict[str, Any] = {
            key: check_value(key, value) for key, value in params.items() if not (own_network and is_free(key))
        }
        return cls(**checked)

    def as_dict(self) -> dict[str, Value]:
        """All hyperparameters by name, JSON-able."""
        return asdict(self)


_FIELDS: dict[str, Field[Any]] = {entry.name: entry for entry in fields(Hyperparameters)}
FAMILY = frozenset(list(_FIELDS)[: list(_FIELDS).index("optimizer")])
"""Those that describe the built-in networks; all others are of the training of any network."""


def is_free(key: str) -> bool:
    """Whether `key` may mean anything to a network by the user's own function: it is not of the training."""
    return key in FAMILY or key not in _FIELDS


def check_free_value(key: str, value: object) -> Value:
    """Return `value` if it may be a parameter of the user's own function. Raises UsageError if it is none of a finite
    number, a text, true or false."""
    if not isinstance(value, bool | int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
        raise UsageError(f"{key} = {value!r} is not allowed: it must be a finite number, a text, true or false")
    return value


def kind(key: str) -> type:
    """int, float or str: what values `key` takes. Raises UsageError for an unknown key."""
    return _field(key).metadata["type"]  # type: ignore[no-any-return]


def describe_range(key: str) -> str:
    """The allowed range of `key` in words, for messages and help."""
    metadata = _field(key).metadata
    if "choices" in metadata:
        return "one of " + ", ".join(metadata["choices"])
    word = "a whole number" if metadata["type"] is int else "a number"
    return f"{word} from {metadata['low']:g} to {metadata['high']:g}"


def check_value(key: str, value: object) -> Value:
    """Return `value` in the type of `key`, or raise UsageError with the key, the value and the allowed range."""
    metadata = _field(key).metadata
    wanted = metadata["type"]
    refusal = UsageError(f"{key} = {value!r} is not allowed: it must be {describe_range(key)}")
    if wanted is str:
        if not isinstance(value, str) or value not in metadata["choices"]:
            raise refusal
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refusal
    if not math.isfinite(value) or (wanted is int and value != int(value)):
        raise refusal
    if not metadata["low"] <= value <= metadata["high"]:
        raise refusal
    if key == "kernel_size" and value % 2 == 0:
        raise UsageError(f"kernel_size = {value!r} is not allowed: it must be odd, {describe_range(key)}")
    return int(value) if wanted is int else float(value)


def check_classes(output: Value, classes: int) -> None:
    """Raise UsageError if a network with this `output` cannot tell so many classes apart."""
    if output == "sigmoid" and classes != 2:
        raise UsageError(
            f"output = 'sigmoid' tells two classes apart, and the data set has {classes}: use output = 'softmax'"
        )


def _field(key: str) -> Field[Any]:
    try:
        return _FIELDS[key]
    except KeyError:
        known = ", ".join(_FIELDS)
        raise UsageError(f"there is no hyperparameter {key!r}; known are {known}") from None


assert all(entry.default is not MISSING for entry in _FIELDS.values()), "a space may leave out any hyperparameter"
