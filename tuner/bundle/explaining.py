"""Where in a picture an exported model found what speaks for its class. Imports torch: Grad-CAM needs gradients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tuner.errors import DataError
from tuner.export_folder import CONFIG_FILE
from tuner.exported_model import load_exported
from tuner.training.gradcam import grad_cam
from tuner.training.pixels import Broken, decode_bytes

_SHOWN_SIDE = 384
_OPACITY = 0.6
# Heat 0, 1/4, 1/2, 3/4, 1 in RGB: from blue over green to red, as in the paper's figures.
_COLOURS = np.array([[0, 0, 160], [0, 160, 255], [60, 220, 60], [255, 220, 0], [230, 0, 0]], np.float64)


class Explanation(NamedTuple):
    """picture: what the model saw, and beside it the same under its heat map. predicted: the class explained."""

    picture: Image.Image
    predicted: str
    probability: float


def explain(bundle: Path, path: Path) -> Explanation:
    """Grad-CAM of the most probable class of the picture file `path`, by the weights in the folder `bundle`.

    Raises ExportError if the bundle holds no weights that can be loaded, DataError if the file holds no picture,
    UsageError if the network has no convolution.
    """
    classifier = load_exported(bundle)
    config = json.loads((bundle / CONFIG_FILE).read_text(encoding="utf-8"))
    try:
        content = path.read_bytes()
        seen = decode_bytes(content, config["input"]["height"], config["input"]["channels"])
        # By the same rule, so that it is the same part of the picture.
        shown = decode_bytes(content, _SHOWN_SIDE, 3)
    except Broken as error:
        raise DataError(f"{path} is no picture that can be read: {error}") from error
    except OSError as error:
        raise DataError(f"cannot read the picture {path} ({error.strerror or error})") from error
    images = torch.from_numpy(seen.copy()[np.newaxis])
    with torch.no_grad():
        probability, chosen = classifier(images).max(dim=1)
    pixels = (images.permute(0, 3, 1, 2).to(torch.float32) - classifier.mean) / classifier.std
    heat = grad_cam(classifier.network, pixels, chosen)[0].numpy()
    picture = Image.fromarray(np.hstack([shown, overlay(shown, heat)]))
    return Explanation(picture, config["classes"][int(chosen)], float(probability))


def overlay(picture: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """`picture` (H x W x 3) under the heat map `heat` (any h x w, 0 to 1): the hotter, the more of its colour."""
    height, width = picture.shape[:2]
    large = np.asarray(Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR), np.float64)
    scale = np.linspace(0, 1, len(_COLOURS))
    colours = np.stack([np.interp(large, scale, channel) for channel in _COLOURS.T], axis=2)
    share = _OPACITY * np.sqrt(large)[..., np.newaxis]
    mixed: NDArray[np.uint8] = np.rint((1 - share) * picture + share * colours).astype(np.uint8)
    return mixed
