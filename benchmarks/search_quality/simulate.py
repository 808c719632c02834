"""A discrete-event simulator: asynchronous workers train recorded curves, on a clock that jumps between reports."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from numpy.typing import NDArray


class World(Protocol):
    """What is searched: `Curves`, or anything that answers the same."""

    def train(self, params: Mapping[str, Any], seed: int) -> tuple[NDArray[Any], float]:
        """(scores by epoch, seconds of an epoch)."""

    def regret(self, params: Mapping[str, Any]) -> float:
        """Of the configuration; lower is better."""


@dataclass(frozen=True)
class Attempt:
    """What a free worker is to train: a new trial, or one that was paused, after its `start_epoch`."""

    number: int
    params: dict[str, Any]
    start_epoch: int = 0


class Engine(Protocol):
    """A search method."""

    def suggest(self, attempt_id: str) -> Attempt:
        """What to train next."""

    def report(self, attempt_id: str, epoch: int, score: float, seconds: float) -> Literal["on", "stop", "pause"]:
        """One epoch of it (1-based), and what becomes of the trial."""

    def ended(self, attempt_id: str) -> None:
        """The attempt is over, by `report`'s answer."""


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
    attempts: Callable[[], int] = itertools.count().__next__
    tickets = itertools.count()
    events: list[tuple[float, int, str, _Trial, int]] = []
    trials: dict[int, _Trial] = {}
    standing: dict[int, _Trial] = {}
    steps: list[Step] = []
    log: list[tuple[float, int, int, float]] = []

    def begin(now_s: float) -> None:
        attempt_id = f"attempt-{attempts()}"
        attempt = engine.suggest(attempt_id)
        if attempt.number not in trials:
            scores, seconds = world.train(attempt.params, seed * 1_000_003 + attempt.number)
            trials[attempt.number] = _Trial(attempt.number, attempt.params, [float(score) for score in scores], seconds)
        trial = trials[attempt.number]
        heapq.heappush(events, (now_s + trial.seconds, next(tickets), attempt_id, trial, attempt.start_epoch + 1))

    for _ in range(workers):
        begin(0.0)
    while events[0][0] <= budget_s:
        now_s, _, attempt_id, trial, epoch = heapq.heappop(events)
        score = trial.scores[epoch - 1]
        log.append((now_s, trial.number, epoch, score))
        becomes = engine.report(attempt_id, epoch, score, trial.seconds)
        trial.best = max(trial.best, score)
        standing[trial.number] = trial
        if becomes == "on":
            heapq.heappush(events, (now_s + trial.seconds, next(tickets), attempt_id, trial, epoch + 1))
        else:
            if becomes == "stop" and epoch < max_epochs:
                del standing[trial.number]
            engine.ended(attempt_id)
        if standing:
            chosen = max(standing.values(), key=lambda entry: (entry.best, -entry.number))
            regret = world.regret(chosen.params) if chosen.regret is None else chosen.regret
            chosen.regret = regret
            if not steps or steps[-1].regret != regret:
                steps.append(Step(now_s, regret, len(trials)))
        if becomes != "on":
            begin(now_s)
    return Result(steps, len(trials), len(log), log)


@dataclass
class _Trial:
    number: int
    params: dict[str, Any]
    scores: list[float]
    seconds: float
    best: float = float("-inf")
    regret: float | None = None
