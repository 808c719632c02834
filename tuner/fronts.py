"""ASHA with several objectives: trials at a rung by layers of non-dominated points. Pure functions of numbers.

A point dominates another if it is nowhere worse and somewhere better. The first layer, the front, is what no point
dominates; the second what none dominates once the first is taken away, and so on (non-dominated sorting, Srinivas and
Deb 1994). The best 1/eta by layers go on, as in Schmucker et al. 2021, "Multi-objective Asynchronous Successive
Halving", and whoever is on the front always does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from operator import ge

from tuner.asha import Decision

Point = tuple[float, ...]
"""One number for each objective; in all of them more is better."""


def layers(points: Sequence[Point]) -> list[int]:
    """The layer of each point, from 1 on; equal points share one.

    By efficient non-dominated sorting with binary search (Zhang et al. 2015): n points of two objectives take
    O(n log n).
    """
    found = [0] * len(points)
    members: list[list[Point]] = []
    # In this order no point is dominated by one that comes later.
    for index in sorted(range(len(points)), key=points.__getitem__, reverse=True):
        point = points[index]
        layer = bisect_left(members, True, key=lambda layer: not _beaten(point, layer))
        if layer == len(members):
            members.append([])
        members[layer].append(point)
        found[index] = layer + 1
    return found


def decide(point: Point, peers: Sequence[Point], reduction_factor: int) -> Decision:
    """Whether a trial goes on past a rung, from its point and those recorded at that rung before it.

    It goes on if it is on the front, or if so few peers are in better layers that it is among the best
    1/reduction_factor. Its rank is 1 + their number.
    """
    *others, own = layers([*peers, point])
    better = sum(layer < own for layer in others)
    go_on = own == 1 or better * reduction_factor <= len(peers) - 1
    return Decision(go_on=go_on, rank=1 + better, peers=len(peers), cutoff=None, layer=own)


def ranked(points: Mapping[int, Point]) -> list[int]:
    """The trials that have a point at a rung, by number, best first: by layer, then by the first objective; of equal
    ones the lower number is the better."""
    found = dict(zip(points, layers(list(points.values())), strict=True))
    return sorted(points, key=lambda number: (found[number], -points[number][0], number))


def _beaten(point: Point, layer: Sequence[Point]) -> bool:
    """Whether any of the layer dominates a point that comes after all of them in the order of `layers`."""
    if len(point) == 2:  # the last one has the largest second number, and nobody's first number is smaller
        layer = layer[-1:]
    return any(other != point and all(map(ge, other, point)) for other in reversed(layer))
