"""Which network a study trains, if not the built-in family: what its record keeps of it. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any

from tuner.errors import UsageError

TORCHVISION = "torchvision"
_NAMED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_model_name(name: object) -> str:
    """Return `name` if it names a network. Raises UsageError otherwise."""
    if not isinstance(name, str) or not _NAMED.fullmatch(name):
        raise UsageError(
            f"model {name!r} is not understood: give package.module:function, of a module in this folder or an "
            "installed one, or torchvision:NAME such as torchvision:resnet18"
        )
    return name


def is_own(name: str) -> bool:
    """Whether `name` is of a function of the user's, whose parameters may have any name."""
    return bool(name) and name.partition(":")[0] != TORCHVISION


@dataclass(frozen=True)
class ModelSpec:
    """A network other than the built-in family, as the study's record keeps it.

    name: `package.module:function`, or `torchvision:NAME`.
    sha256: of the source file that defines the function; empty for torchvision's.
    files: what the study keeps in its storage: path below the folder `model` -> sha256. The modules that the function
        needs, and the initial weights (`weights.safetensors`).
    weights, weights_sha256: where initial weights came from, a path or a URL, and of what they were then; else empty.
    mean, std: per colour, 0 to 1: the normalisation that the weights were trained with; empty: the data set's own.
    """

    name: str
    sha256: str = ""
    files: dict[str, str] = field(default_factory=dict)
    weights: str = ""
    weights_sha256: str = ""
    mean: list[float] = field(default_factory=list)
    std: list[float] = field(default_factory=list)

    @property
    def own(self) -> bool:
        """Whether a function of the user's builds it."""
        return is_own(self.name)

    @property
    def module(self) -> str:
        """What is left of the colon."""
        return self.name.partition(":")[0]

    @property
    def function(self) -> str:
        """What is right of the colon: of torchvision the network's name."""
        return self.name.partition(":")[2]

    def as_dict(self) -> dict[str, Any]:
        """All fields, JSON-able."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ModelSpec:
        """The inverse of `as_dict`, checked: the files are below their folder. Raises ValueError, TypeError,
        UsageError."""
        spec = cls(**content)
        check_model_name(spec.name)
        for path, sha256 in spec.files.items():
            parts = PurePosixPath(path).parts
            if not parts or parts[0] == "/" or ".." in parts or not _SHA256.fullmatch(sha256):
                raise ValueError(f"{path!r} is no file of a model")
        return spec
