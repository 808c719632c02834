"""A discrete-event simulator: asynchronous workers train recorded curves, on a clock that jumps between reports."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray


class World(Protocol):
    """What is searched: `Curves`, or anything that answers the same."""

    def train(self, params: Mapping[str, Any], seed: int) -> tuple[NDArray[Any], float]:
        """(scores by epoch, seconds of an epoch)."""

    def regret(self, params: Mapping[str, Any]) -> float:
        """Of the configuration; lower is better."""


class Engine(Protocol):
    """A search method."""

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """The configuration of a new trial."""

    def report(self, trial_id: str, epoch: int, score: float, seconds: float) -> bool:
        """One epoch of it (1-based); True if it goes on."""

    def ended(self, trial_id: str) -> None:
        """It is over, by `report`'s answer."""


@dataclass(frozen=True)
class Step:
    """From `seconds` on the search would hand over a configuration with this regret; `trials` have begun by then."""

    seconds: float
    regret: float
    trials: int


@dataclass(frozen=True)
class Result:
    """steps: ascending. epochs: all that were trained. log: (seconds, trial, epoch, score) of each report, in order."""

    steps: list[Step]
    trials: int
    epochs: int
    log: list[tuple[float, int, int, float]]

    def regret_at(self, seconds: float, nothing: float = 100.0) -> float:
        """Regret of what is handed over after so many seconds; `nothing` if there is nothing yet."""
        found = nothing
        for step in self.steps:
            if step.seconds > seconds:
                break
            found = step.regret
        return found


def simulate(engine: Engine, world: World, *, workers: int, seed: int, budget_s: float, max_epochs: int) -> Result:
    """Search for `budget_s` simulated seconds with `workers` at once.

    Handed over is the trial with the best score so far that was not stopped early: of those the weights are kept.
    """
    numbers: Callable[[], int] = itertools.count().__next__
    tickets = itertools.count()
    events: list[tuple[float, int, _Trial, int]] = []
    standing: dict[int, _Trial] = {}
    steps: list[Step] = []
    log: list[tuple[float, int, int, float]] = []
    begun = 0

    def begin(now_s: float) -> None:
        nonlocal begun
        number = numbers()
        params = engine.suggest(f"trial-{number}")
        scores, seconds = world.train(params, seed * 1_000_003 + number)
        begun += 1
        trial = _Trial(number, params, [float(score) for score in scores], seconds)
        heapq.heappush(events, (now_s + seconds, next(tickets), trial, 1))

    for _ in range(workers):
        begin(0.0)
    while events[0][0] <= budget_s:
        now_s, _, trial, epoch = heapq.heappop(events)
        score = trial.scores[epoch - 1]
        log.append((now_s, trial.number, epoch, score))
        goes_on = engine.report(f"trial-{trial.number}", epoch, score, trial.seconds)
        trial.best = max(trial.best, score)
        standing[trial.number] = trial
        if goes_on:
            heapq.heappush(events, (now_s + trial.seconds, next(tickets), trial, epoch + 1))
        else:
            if epoch < max_epochs:
                del standing[trial.number]
            engine.ended(f"trial-{trial.number}")
        if standing:
            chosen = max(standing.values(), key=lambda entry: (entry.best, -entry.number))
            regret = world.regret(chosen.params) if chosen.regret is None else chosen.regret
            chosen.regret = regret
            if not steps or steps[-1].regret != regret:
                steps.append(Step(now_s, regret, begun))
        if not goes_on:
            begin(now_s)
    return Result(steps, begun, len(log), log)


@dataclass
class _Trial:
    number: int
    params: dict[str, Any]
    scores: list[float]
    seconds: float
    best: float = float("-inf")
    regret: float | None = None
