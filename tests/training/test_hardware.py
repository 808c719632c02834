from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tuner.training import hardware


@pytest.mark.parametrize(
    ("text", "fast"),
    [
        ("flags : fpu avx512f avx512_bf16 avx2\n", True),
        ("flags : amx_bf16\n", True),
        ("flags : avx512f\n", False),
        (None, False),
    ],
)
def test_bf16_is_used_on_a_cpu_only_if_the_kernel_lists_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, fast: bool
) -> None:
    path = tmp_path / "cpuinfo"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(hardware, "_CPU_INFO", path)
    hardware._cpu_has_bf16.cache_clear()
    try:
        assert hardware.has_fast_bf16(torch.device("cpu")) is fast
    finally:
        hardware._cpu_has_bf16.cache_clear()


@pytest.mark.parametrize(("capability", "fast"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_bf16_is_used_on_gpus_from_ampere_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], fast: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert hardware.has_fast_bf16(torch.device("cuda:0")) is fast
