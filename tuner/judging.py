"""The rules of ASHA for a study's trials: by the score, or with several objectives by layers of fronts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from tuner import asha, fronts
from tuner.asha import Decision
from tuner.spec import Standing, StudySpec


def decide(spec: StudySpec, standing: Standing, peers: Sequence[Standing]) -> Decision:
    """Whether a trial goes on past a rung; peers: the standings of those that came there before it."""
    if spec.costs:
        return fronts.decide(
            cast("fronts.Point", standing), cast("Sequence[fronts.Point]", peers), spec.reduction_factor
        )
    return asha.decide(cast("float", standing), cast("Sequence[float]", peers), spec.reduction_factor, spec.direction)


def ranked(spec: StudySpec, standings: Mapping[int, Standing]) -> list[int]:
    """The trials at a rung, by number, best first."""
    if spec.costs:
        return fronts.ranked(cast("Mapping[int, fronts.Point]", standings))
    return asha.ranked(cast("Mapping[int, float]", standings), spec.direction)
