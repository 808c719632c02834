"""The best epochs of a study: by its score, and with several objectives those on the front."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tuner import fronts
from tuner.direction import sign_of
from tuner.errors import ExportError, UsageError
from tuner.training.objectives import COSTS, OBJECTIVES

if TYPE_CHECKING:
    from tuner.spec import StudySpec
    from tuner.study import Study, TrialRecord

_LIMIT = re.compile(r"\s*(\w+)\s*(<=|>=)\s*(\S+)\s*")


@dataclass(frozen=True)
class Best:
    """The best epoch of a trial, whose weights are kept. value: its score; costs: of the trial, by name."""

    trial: int
    epoch: int
    value: float
    params: dict[str, Any]
    costs: dict[str, float] = field(default_factory=dict)

    def of(self, objective: str) -> float:
        """Its value of an objective, that of any score being the score."""
        return self.costs[objective] if objective in COSTS else self.value


def best_of(trials: Iterable[TrialRecord], spec: StudySpec) -> Best | None:
    """The best score among the trials of the search, of equal ones the lowest number; None if there is none yet.

    With several objectives of equal scores one that is on the front.
    """
    if spec.costs:
        return next(iter(front_of(trials, spec)), None)
    sign = sign_of(spec.direction)
    return max(_kept(trials), key=lambda best: (sign * best.value, -best.trial), default=None)


def front_of(trials: Iterable[TrialRecord], spec: StudySpec) -> list[Best]:
    """With several objectives the trials of the search that no other one beats in all of them, the best score first."""
    if not spec.costs:
        return []
    found = [best for best in _kept(trials) if best.costs]
    layers = fronts.layers([spec.point(best.value, best.costs) for best in found])
    front = [best for best, layer in zip(found, layers, strict=True) if layer == 1]
    return sorted(front, key=lambda best: (-sign_of(spec.direction) * best.value, best.trial))


def preferred(study: Study, prefer: Sequence[str]) -> list[Best]:
    """The part of the front that is asked for, what is to be exported first; all of it if nothing is.

    prefer: limits such as `latency_ms<=2` or `val_accuracy>=0.9`, and at most one objective (the best by it comes
    first, else the best score) or number of a trial. Raises UsageError for what is none of them, and ExportError if
    nothing on the front is like that.
    """
    spec = study.spec
    if not spec.costs:
        raise UsageError(
            f"--prefer picks from the front of several objectives, and study {spec.name} has one, {spec.metric}"
        )
    found, first = study.front, ""
    for text in prefer:
        if limit := _LIMIT.fullmatch(text):
            name, sign, bound = limit[1], limit[2], _number(limit[3], text)
            _check(name, spec, text)
            found = [best for best in found if (best.of(name) <= bound if sign == "<=" else best.of(name) >= bound)]
        elif first:
            raise UsageError(f"--prefer {first} and {text}: give one objective or trial, the others as limits")
        else:
            first = text
    if first.isdecimal():
        found = [best for best in found if best.trial == int(first)]
    elif first:
        _check(first, spec, first)
        better = sign_of({**OBJECTIVES, **COSTS}[first].direction)
        found = sorted(found, key=lambda best: (-better * best.of(first), best.trial))
    if not found:
        if not study.front:
            raise ExportError(f"study {spec.name} has no front yet: none of its trials has weights that are kept")
        asked = " ".join(f"--prefer {text}" for text in prefer)
        raise ExportError(f"{asked}: no such trial on the front of study {spec.name}; `tuner status` shows it")
    return found


def _check(name: str, spec: StudySpec, text: str) -> None:
    if name not in spec.objectives:
        raise UsageError(
            f"--prefer {text} is not understood: give one of the study's objectives, {', '.join(spec.objectives)}, a "
            "limit such as latency_ms<=2, or the number of a trial"
        )


def _number(word: str, text: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise UsageError(f"--prefer {text}: {word!r} is not a number") from None


def _kept(trials: Iterable[TrialRecord]) -> list[Best]:
    return [
        Best(trial.number, kept["epoch"], kept["score"], trial.params, trial.costs)
        for trial in trials
        if (kept := trial.best_checkpoint) and trial.confirms is None
    ]
