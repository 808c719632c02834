"""The limit: forward, backward and step on one resident synthetic batch, again and again, and nothing else.

On a GPU the three are one captured CUDA graph, which leaves nothing between the kernels.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor
from torch.nn import functional

from tuner.training import models
from tuner.training.config import Hyperparameters
from tuner.training.dataspec import DataInfo
from tuner.training.hardware import has_fast_bf16

_WARM_STEPS = 5


class BareLoop:
    """The network of `hp` for pictures as `info` has them, in the number format in which we train here."""

    def __init__(self, hp: Hyperparameters, info: DataInfo, device: str) -> None:
        self._hp = hp
        self._device = torch.device(device)
        self._bf16 = has_fast_bf16(self._device)
        shape = (info.channels, info.height, info.width)
        network = models.build(hp, shape, len(info.classes))
        self._network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._optimizer = torch.optim.SGD(
            self._network.parameters(), lr=1e-3, momentum=hp.momentum, nesterov=True, fused=True
        )
        images = torch.randn(hp.batch_size, *shape, device=self._device)
        self._images = images.contiguous(memory_format=torch.channels_last)
        self._labels = torch.randint(len(info.classes), (hp.batch_size,), device=self._device)
        self._network.train()
        self._graph = self._captured() if device == "cuda" else None

    def images_per_s(self, steps: int) -> float:
        """Over so many steps, after a few that do not count."""
        for _ in range(_WARM_STEPS):
            self._run()
        self._wait()
        start_s = time.perf_counter()
        for _ in range(steps):
            self._run()
        self._wait()
        return steps * self._hp.batch_size / (time.perf_counter() - start_s)

    def _run(self) -> None:
        if self._graph is None:
            self._step()
        else:
            self._graph.replay()

    def _step(self) -> Tensor:
        # Without a cache of casts: it may not outlive the capture that it was made in.
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16, cache_enabled=False):
            logits = self._network(self._images)
        loss = functional.cross_entropy(logits.float(), self._labels, label_smoothing=self._hp.label_smoothing)
        torch.autograd.backward(loss)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return loss

    def _captured(self) -> torch.cuda.CUDAGraph:
        """The step as a graph; it has run on a stream of its own before, as PyTorch's notes on CUDA graphs want it."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_STEPS):
                self._step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        return graph

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
