"""Charts as plain data for plotly.js, which the page draws. Colours are names of the page's own (`@complete`), so that
a chart is light or dark as the page is; see assets/report.js."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tuner.training.objectives import COSTS, OBJECTIVES

OUTCOMES = ("pruned", "failed", "queued", "paused", "running", "complete")
"""In the order in which they are drawn: the last is on top."""
OUTCOME_NAMES = {
    "pruned": "stopped early",
    "failed": "failed",
    "queued": "waiting",
    "paused": "paused at a rung",
    "running": "running",
    "complete": "trained to the end",
}

_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Chart:
    """traces, layout: as Plotly has them. height, min_width: in CSS pixels; a chart that needs more width than the
    screen has is scrolled sideways."""

    traces: list[dict[str, Any]]
    layout: dict[str, Any] = field(default_factory=dict)
    height: int = 380
    min_width: int = 0

    def as_dict(self) -> dict[str, Any]:
        """What the page's script draws."""
        return {"data": self.traces, "layout": self.layout}


def metric_name(metric: str) -> str:
    """A metric as people say it."""
    return {**OBJECTIVES, **COSTS}[metric].words


def plain(text: object) -> str:
    """Text such that Plotly, which reads some HTML in labels, shows it as it is."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def shortened(text: str, length: int = 18) -> str:
    """Text cut to a label's length."""
    return text if len(text) <= length else f"{text[: length - 1]}\N{HORIZONTAL ELLIPSIS}"


def axis(title: str = "", **more: Any) -> dict[str, Any]:
    """An axis with a title."""
    return {"title": {"text": plain(title)}, **more} if title else more


def spread(index: int) -> float:
    """A number from -0.5 to 0.5 for the index: neighbours far apart, and the same at each call."""
    return (index * _GOLDEN) % 1.0 - 0.5


def evenly(items: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of the items, evenly chosen in their order."""
    if len(items) <= most:
        return list(items)
    return [items[index * len(items) // most] for index in range(most)]


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers for a logarithmic axis from `low` to `high`, both above 0: powers of ten, or 1, 2 and 5 of each
    where there is room, and the ends where there would be fewer than two."""
    exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        found = [digit * 10.0**exponent for exponent in exponents for digit in digits]
        found = [number for number in found if low * (1 - 1e-9) <= number <= high * (1 + 1e-9)]
        if len(found) <= most:
            return found if len(found) >= 2 else [low, high]
    return evenly(found, most)


def short_number(number: float) -> str:
    """12.3k, 4M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def time_unit(seconds: float) -> tuple[str, float]:
    """The unit to draw up to so many seconds in, and how many seconds it has."""
    if seconds < 180:
        return "seconds", 1.0
    return ("minutes", 60.0) if seconds < 3 * 3600 else ("hours", 3600.0)
