"""What this process holds on its GPU, and how much it may hold."""

from __future__ import annotations

import torch

from tuner.packing import Memory, limit_bytes


class GpuMeter:
    """Of the GPU that this process uses."""

    def __init__(self) -> None:
        self._total_bytes = self._size_bytes()
        self._resident_bytes = self._told_bytes = self._peak_bytes = 0

    def begin(self, part: float) -> None:
        """A trial begins, with the data there and the network not; below 1, `part` is all that it may hold."""
        self._resident_bytes = self._start_anew(limit_bytes(part, self._total_bytes) if part < 1 else None)
        self._told_bytes = self._peak_bytes = 0

    def peak_bytes(self) -> int:
        """The most that torch held since the last call, or since `begin`, tensors or not: it is what runs out."""
        peak = self._peak_since_last()
        self._peak_bytes = max(self._peak_bytes, peak)
        return peak

    def news(self) -> Memory | None:
        """What the trial holds, if that is more than was told before."""
        if self._peak_bytes <= self._told_bytes:
            return None
        self._told_bytes = self._peak_bytes
        return Memory(self._peak_bytes, self._resident_bytes, self._total_bytes)

    # What tests without a GPU replace.

    def _size_bytes(self) -> int:
        return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)

    def _start_anew(self, limit_bytes: int | None) -> int:
        """Let go of what is not used, and allow so much: bytes that are held already."""
        torch.cuda.empty_cache()
        if limit_bytes is not None:
            torch.cuda.set_per_process_memory_fraction(min(1.0, limit_bytes / self._total_bytes))
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_reserved()

    def _peak_since_last(self) -> int:
        held = torch.cuda.max_memory_reserved()
        torch.cuda.reset_peak_memory_stats()
        return held


def open_meter(*, gpu: bool) -> GpuMeter | None:
    """None without a GPU: memory of the host is not counted, nor shared out."""
    return GpuMeter() if gpu else None


def ran_out_of_memory(error: Exception) -> bool:
    """Whether that is what an error of torch's says; it has no class of its own for memory that runs out on the CPU,
    nor for memory that CUDA or its libraries do not get, which then are as good as before."""
    text = str(error)
    known = ("can't allocate memory", "CUDA error: out of memory", "_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or any(words in text for words in known)
