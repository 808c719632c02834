"""What a network costs its user, as objectives of a search: `objectives.COSTS`."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

_WARM_UP = 5
_TIMES = 100
_MOST_S = 0.5


@torch.inference_mode()
def measure(model: nn.Module, picture: Tensor, names: Sequence[str], *, bf16: bool) -> dict[str, float]:
    """The costs called `names` of a network that is on its device; its weights do not matter.

    picture: 1 x C x H x W floats, there too. `parameters`: numbers that it learns. `latency_ms`: the fastest forward
    pass of one picture, in the number format and with the threads of the training; of many, for whatever else the
    machine does makes them slower. It compares networks on one kind of worker; what the exported files take is measured
    with the export.
    """
    costs: dict[str, float] = {}
    if "latency_ms" in names:
        costs["latency_ms"] = round(_latency_ms(model, picture, bf16), 4)
    if "parameters" in names:
        costs["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    return {name: costs[name] for name in names}


def _latency_ms(model: nn.Module, picture: Tensor, bf16: bool) -> float:
    was_training = model.training
    model.eval()
    device = picture.device
    took_s: list[float] = []
    began_s = time.perf_counter()
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        for turn in range(_WARM_UP + _TIMES):
            start_s = time.perf_counter()
            model(picture)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            end_s = time.perf_counter()
            if turn >= _WARM_UP:
                took_s.append(end_s - start_s)
                if end_s - began_s > _MOST_S:
                    break
    model.train(was_training)
    return 1000 * min(took_s)
