"""Initial weights for a torchvision network: found or downloaded once, where a search is submitted."""

from __future__ import annotations

import hashlib
import io
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tuner.errors import UsageError, first_line
from tuner.training.transfer import check_builder

_NETWORK_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Weights:
    """tensors: a state dict of the network as torchvision builds it. source: path or URL; sha256: of the file. mean,
    std: per colour, 0 to 1, of the pictures that it was trained with."""

    tensors: dict[str, Tensor]
    source: str
    sha256: str
    mean: list[float]
    std: list[float]


def find_weights(name: str, file: Path | None) -> Weights:
    """The weights of torchvision's network `name`: from `file`, else torchvision's newest from its cache, else
    downloaded to there.

    Raises UsageError if there is no such network, if the file is absent or holds no state dict, or if nothing can be
    downloaded; the line then says where to put the file.
    """
    check_builder(name)
    from torchvision.models import get_model_weights

    published = get_model_weights(name).DEFAULT
    preset = published.transforms()
    path = file or _downloaded(name, published.url)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"the weights {path} cannot be read: {error.strerror or error}") from None
    return Weights(
        tensors=_state_dict(content, path),
        source=str(path.absolute()) if file else published.url,
        sha256=hashlib.sha256(content).hexdigest(),
        mean=[float(value) for value in preset.mean],
        std=[float(value) for value in preset.std],
    )


def _downloaded(name: str, url: str) -> Path:
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if path.exists():
        return path
    # As in "resnet18-f37072fd.pth".
    expected = path.stem.rpartition("-")[2]
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_NETWORK_TIMEOUT_S)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), expected, progress=False)
    except (OSError, RuntimeError) as error:
        raise UsageError(
            f"the weights of {name} cannot be downloaded ({first_line(error)}): get {url} elsewhere and put it at "
            f"{path}, or name it with --weights FILE"
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return path


def _state_dict(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        found: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch's readers raise anything for what is no such file
        raise UsageError(
            f"{path} holds no weights that can be read without running code from it: save a state dict, "
            "torch.save(network.state_dict(), FILE)"
        ) from error
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise UsageError(f"{path} holds no state dict: save one with torch.save(network.state_dict(), FILE)")
    return {str(key): value for key, value in found.items()}
