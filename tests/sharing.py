"""A trainable that trains nothing and pretends to hold memory on a GPU that is only a number of Ray's."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from tests.trainables import Saving
from tuner.exchange import Failure, Report
from tuner.packing import CONTEXT_BYTES, Memory, limit_bytes

GIB = 1 << 30
GPU_BYTES = 24 * GIB
RESIDENT_BYTES = GIB // 2
SURPRISING = 4  # holds far more than others of its size do
TOO_LARGE = 5  # for any GPU


def held_bytes(number: int, params: dict[str, Any]) -> int:
    """What a trial holds beside the data set: by its width 0.75 to 3 GiB, but for two of them."""
    if number == TOO_LARGE:
        return 2 * GPU_BYTES
    return 9 * GIB if number == SURPRISING else int(params["width"] / 64 * 3 * GIB)


class Sharing(Saving):
    """Runs out of memory as a worker does: of its part of the GPU, or of all of it.

    In `FOLDER/gpus.json` stands who is on which GPU with how many bytes; `FOLDER/seen` gets a line a step: the GPU, how
    many are on it, the bytes that they hold. Who shares a GPU waits for company once, so that there is some.
    """

    def setup(self, config: dict[str, Any], spec_json: str = "", cache: str = "", **arguments: Any) -> None:
        self.folder = Path(cache)
        super().setup(config, spec_json=spec_json, cache=str(self.folder / "ledger"), **arguments)

    def step(self) -> dict[str, Any]:
        number, part = self.assignment.number, self.assignment.part
        own = held_bytes(number, self.assignment.params)
        allowed = GPU_BYTES - CONTEXT_BYTES if part == 1 else limit_bytes(part, GPU_BYTES)
        if RESIDENT_BYTES + own > allowed:
            time.sleep(0.1)
            return {"report": Failure("out_of_memory", f"tried to allocate {own / GIB:g} GiB")}
        with self._on_gpu(RESIDENT_BYTES + own + CONTEXT_BYTES):
            self._wait_for_company()
            time.sleep(0.2)
            outcome = super().step()["report"]
        assert isinstance(outcome, Report)
        memory = Memory(RESIDENT_BYTES + own, RESIDENT_BYTES, GPU_BYTES)
        return {"report": replace(outcome, memory=memory)}

    @contextmanager
    def _on_gpu(self, own: int) -> Iterator[None]:
        (self.gpu,) = ray.get_gpu_ids()
        me = str(os.getpid())
        with self._gpus() as gpus:
            on_it = gpus.setdefault(str(self.gpu), {})
            on_it[me] = own
            line = f"{self.gpu} {len(on_it)} {sum(on_it.values())} {self.assignment.number} {self.assignment.part}\n"
        with (self.folder / "seen").open("a") as seen:
            seen.write(line)
        yield
        with self._gpus() as gpus:
            del gpus[str(self.gpu)][me]

    @contextmanager
    def _gpus(self) -> Iterator[dict[str, dict[str, int]]]:
        with (self.folder / "gpus.json").open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            gpus = json.loads(file.read() or "{}")
            yield gpus
            file.truncate(0)
            file.write(json.dumps(gpus))

    def _wait_for_company(self) -> None:
        met = self.folder / "met"
        deadline_s = time.monotonic() + 60
        while self.assignment.part < 1 and not met.exists():
            with self._gpus() as gpus:
                if len(gpus[str(self.gpu)]) > 1:
                    met.touch()
            assert time.monotonic() < deadline_s, "nobody else came to this GPU"
            time.sleep(0.05)
