"""Memory of tensors that are gone: kept between steps, given back between trials."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own: the setting is the process's.
RESIDENT = """
import torch
from tuner.training.allocator import give_back_memory, keep_freed_memory

def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 // 2**20

keep_freed_memory()
before = resident_mib()
tensor = torch.ones(64 * 2**18)  # 64 MiB, beyond what glibc itself ever keeps
del tensor
kept = resident_mib() - before
give_back_memory()
print(kept, resident_mib() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it is glibc that is told")
def test_freed_memory_is_kept_until_it_is_given_back():
    result = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, timeout=60, check=True)
    kept, left = map(int, result.stdout.split())
    assert kept >= 60
    assert left < 20  # some MiB stay in pieces between what lives on
