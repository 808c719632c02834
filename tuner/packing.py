"""`--trials-per-gpu auto`: which part of a GPU a trial reserves, from what earlier trials held. Pure arithmetic.

A trial reserves 1, 1/2, 1/4 or 1/8 of a GPU, Ray places these parts, and a worker may hold no more than its part: so
trials fit wherever they are placed, and one that holds more than was expected runs out of memory itself and takes it
from nobody else. Parts that are powers of two leave no gaps when they take each other's places, and few sizes mean that
the next trial often fits the process that has just become free.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from tuner.errors import UsageError

AUTO: Final = "auto"
PerGpu = int | Literal["auto"]

MOST_PER_GPU = 8
# Of a GPU and for each process: the CUDA context with the kernels that torch and its libraries load, which torch does
# not count. About half of it was expected on common GPUs; it was not measured here.
CONTEXT_BYTES = 1 << 30
# Work space of convolutions and matrix products, which does not grow with the network.
WORK_SPACE_BYTES = 1 << 28
# Networks of other shapes than those measured need more or less than theory says by another factor.
MARGIN = 1.25
# Of the factors that were measured, the one that so large a share does not exceed: for up to 20 trials the largest.
QUANTILE = 0.95


@dataclass(frozen=True)
class Memory:
    """What a trial held on its GPU, in bytes.

    peak: the most that its process held so far. resident: how much of it before the trial began, the data set mostly.
    total: what the GPU has.
    """

    peak: int
    resident: int
    total: int


def parse_trials_per_gpu(given: str | int | None) -> PerGpu | None:
    """A number from 1 on, or "auto"; None is not given. Raises UsageError for anything else."""
    if given is None:
        return None
    text = str(given).strip().lower()
    if text == AUTO:
        return AUTO
    if isinstance(given, bool) or not text.isdecimal() or int(text) < 1:
        raise UsageError(f"trials-per-gpu = {given} is not allowed: give a whole number from 1 on, or auto")
    return int(text)


def smallest_part(cpus_per_gpu: float) -> float:
    """The smallest part of a GPU that gets a CPU core, which each trial keeps busy with what it launches."""
    most = int(max(1, min(MOST_PER_GPU, cpus_per_gpu)))
    return float(2.0 ** -math.floor(math.log2(most)))


def limit_bytes(part: float, total_bytes: int) -> int:
    """What the tensors of a process with such a part of a GPU may hold: at least the work space, should the GPU be
    smaller than those that are known."""
    return max(WORK_SPACE_BYTES, int(part * total_bytes) - CONTEXT_BYTES)


def named(part: float) -> str:
    """Such as: 1/4 of a GPU."""
    return "a whole GPU" if part == 1 else f"1/{round(1 / part)} of a GPU"


class Predictor:
    """Told what trials held, it says which part of a GPU another one needs.

    theory: bytes that a trial needs by `tuner.training.footprint`; None where there is no theory (networks of the
    user's own): such a trial counts as the largest that was seen. Before anything was seen each needs a whole GPU.
    """

    def __init__(self, smallest: float) -> None:
        self.smallest = smallest
        self._held: dict[int, tuple[int | None, int]] = {}
        self._too_small: dict[int, tuple[int | None, float]] = {}
        self._resident = 0
        self._total: int | None = None

    @property
    def has_seen(self) -> bool:
        """Whether a trial has told what it holds."""
        return self._total is not None

    def held(self, number: int, theory: int | None, memory: Memory) -> None:
        """Trial `number` holds so much; the most of what it says counts."""
        own = max(0, memory.peak - memory.resident)
        self._held[number] = (theory, max(own, self._held.get(number, (None, 0))[1]))
        self._resident = max(self._resident, memory.resident)
        # Of unequal GPUs the smallest: nobody knows on which one a trial will be.
        self._total = memory.total if self._total is None else min(self._total, memory.total)

    def ran_out(self, number: int, theory: int | None, part: float) -> None:
        """`part` of a GPU was too small for trial `number`."""
        self._too_small[number] = (theory, max(part, self._too_small.get(number, (None, 0.0))[1]))

    def part(self, theory: int | None, at_least: float = 0.0) -> float:
        """The part for a trial, never below `at_least`: 1 if it may need more than a half."""
        if self._total is None:
            return 1.0
        need = self._resident + self.predicted(theory)
        part = max(self.smallest, at_least)
        while part < 1 and CONTEXT_BYTES + need > part * self._total:
            part *= 2
        return part

    def predicted(self, theory: int | None) -> int:
        """Bytes that a trial is expected to hold at most, beside the data set; grows with `theory`."""
        seen = self._seen()
        if theory is None:
            return max(WORK_SPACE_BYTES, int(MARGIN * max((own for _, own in seen), default=0)))
        factors = sorted((own - WORK_SPACE_BYTES) / known for known, own in seen if known)
        factor = max(1.0, factors[math.ceil(QUANTILE * len(factors)) - 1]) if factors else 1.0
        return WORK_SPACE_BYTES + int(MARGIN * factor * theory)

    def _seen(self) -> list[tuple[int | None, int]]:
        assert self._total is not None
        # All that is known of a trial that ran out is that its part was too small.
        more = [(theory, limit_bytes(part, self._total)) for theory, part in self._too_small.values()]
        return [*self._held.values(), *more]
