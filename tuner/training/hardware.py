"""What the hardware can do."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

_CPU_INFO = Path("/proc/cpuinfo")


def has_fast_bf16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 in hardware. Where it is emulated it is slower than float32."""
    if device.type == "cuda":
        # torch.cuda.is_bf16_supported() counts emulation; Ampere (8.0) is the first with the real thing.
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and _cpu_has_bf16()


@cache
def _cpu_has_bf16() -> bool:
    # Read from the kernel: torch's own query moved between the versions that we support.
    try:
        words = set(_CPU_INFO.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return False
    return "avx512_bf16" in words or "amx_bf16" in words
