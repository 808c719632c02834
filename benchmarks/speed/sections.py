"""Where the time of a piece of training goes, by torch's own profiler. Needs torch alone."""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from torch.profiler import ProfilerActivity, profile, record_function

# Parts of the names of torch's operations -> what they are in the table. Backward ones have the same parts.
OPERATIONS = {"convolution": "convolutions", "max_pool2d": "pooling", "batch_norm": "batch norm"}
OTHER = "other operations of the network and the optimizer"
OUTSIDE = "Python between them"
PICTURES = "pictures: reading, augmenting, normalising"
_MARK = "section: "
VALIDATION, CHECKPOINT = "validation", "checkpoint"

P = ParamSpec("P")
R = TypeVar("R")


def named(section: str, work: Callable[P, R]) -> Callable[P, R]:
    """`work`, all of whose time belongs to a section of that name."""

    @wraps(work)
    def recorded(*args: P.args, **kwargs: P.kwargs) -> R:
        with record_function(_MARK + section):
            return work(*args, **kwargs)

    return recorded


def milliseconds(work: Callable[[], object], batches: int) -> dict[str, float]:
    """What `work` takes for a batch of training, by section; what belongs to none, by operation. Adds up to the whole.

    Processors only: an operation's time is that of the thread which calls it.
    """
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        start_s = time.perf_counter()
        work()
        whole_ms = (time.perf_counter() - start_s) * 1e3
    events = profiled.events() or []
    # Those within another one are part of that: reading pictures for the validation.
    sections: list[tuple[float, float, str]] = []
    for event in sorted((event for event in events if event.name.startswith(_MARK)), key=lambda e: e.time_range.start):
        if not sections or event.time_range.start >= sections[-1][1]:
            section = event.name.removeprefix(_MARK)
            sections.append((event.time_range.start, event.time_range.end, section))
    starts = [start for start, _, _ in sections]
    found: dict[str, float] = {}
    for start, end, name in sections:
        found[name] = found.get(name, 0.0) + (end - start) / 1e3
    for event in events:
        before = bisect.bisect_right(starts, event.time_range.start) - 1
        if before >= 0 and event.time_range.start < sections[before][1]:
            continue
        group = next((group for part, group in OPERATIONS.items() if part in event.name), OTHER)
        found[group] = found.get(group, 0.0) + event.self_cpu_time_total / 1e3
    found[OUTSIDE] = whole_ms - sum(found.values())
    return {name: value / batches for name, value in found.items()}
