"""The random streams of one trial, apart from everybody else's in the process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor


class TrialRandomness:
    """Two streams on `device`: `generator` for shuffling and augmentation, and torch's default one, which dropout and
    initial weights draw from, while `as_default` is active."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        self.generator = torch.Generator(device).manual_seed(seed)
        with self._forked():
            torch.manual_seed(seed)
            self._states = self._read_default()

    @contextmanager
    def as_default(self) -> Iterator[None]:
        """Make this trial's stream torch's default one, and put back afterwards what was there."""
        with self._forked():
            self._write_default(self._states)
            yield
            self._states = self._read_default()

    def tensors(self) -> dict[str, Tensor]:
        """The states of all streams, uint8 on the CPU; a GPU's have other names than a CPU's."""
        return {**self._states, f"generator_{self._device.type}": self.generator.get_state()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `tensors` gave. Streams of another kind of device cannot go on: those start as seeded."""
        self._states = {name: tensors.get(name, state) for name, state in self._states.items()}
        own = tensors.get(f"generator_{self._device.type}")
        if own is not None:
            self.generator.set_state(own)

    def _forked(self) -> AbstractContextManager[None]:
        return torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else [])

    def _read_default(self) -> dict[str, Tensor]:
        states = {"default_cpu": torch.get_rng_state()}
        if self._device.type == "cuda":
            states["default_cuda"] = torch.cuda.get_rng_state(self._device)
        return states

    def _write_default(self, states: dict[str, Tensor]) -> None:
        torch.set_rng_state(states["default_cpu"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(states["default_cuda"], self._device)
