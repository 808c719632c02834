"""Configurations that were trained again with other seeds, to see what their scores are worth: a fold over trials.

The best of many scores is too high on average, since luck was chosen too; the mean of fresh runs is not.
"""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tuner.best import preferred
from tuner.direction import Direction, sign_of
from tuner.errors import UsageError

if TYPE_CHECKING:
    from tuner.study import Study, TrialRecord

MOST = 100


@dataclass(frozen=True)
class Confirmation:
    """What is asked for: so many of the best configurations, each trained anew with so many seeds.

    prefer, among: with several objectives what `--prefer` was given, and the trials of the front that it leaves.
    Raises UsageError for numbers out of range.
    """

    configurations: int = 3
    seeds: int = 3
    prefer: tuple[str, ...] = ()
    among: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for key, value in (("confirm", self.configurations), ("seeds", self.seeds)):
            if not 1 <= value <= MOST:
                raise UsageError(f"{key} = {value} is not allowed: it must be a whole number from 1 to {MOST}")

    def command(self, study: str) -> str:
        """What is typed to go on with it."""
        prefer = "".join(f" --prefer {shlex.quote(text)}" for text in self.prefer)
        return f"tuner export-best {study} --confirm {self.configurations} --seeds {self.seeds}{prefer}"

    def chosen(self, trials: Iterable[TrialRecord], direction: Direction) -> list[TrialRecord]:
        """The best trial of the search of each configuration that is to be confirmed, the best first."""
        if self.among is None:
            return best_configurations(trials, direction)[: self.configurations]
        by_number = {trial.number: trial for trial in trials}
        found: dict[Any, TrialRecord] = {}
        for number in self.among:
            found.setdefault(_configuration(by_number[number]), by_number[number])
        return list(found.values())[: self.configurations]

    def for_front(self, study: Study) -> Confirmation:
        """The same, of the front of a study that has one. Raises what `preferred` does."""
        if not (study.spec.costs or self.prefer):
            return self
        return replace(self, among=tuple(best.trial for best in preferred(study, self.prefer)))


@dataclass(frozen=True)
class Confirmed:
    """One configuration with its fresh runs.

    origin: its best trial in the search. runs: complete trials with other seeds, by number. diverged: how many others
    diverged, which is a result too.
    """

    origin: TrialRecord
    runs: tuple[TrialRecord, ...]
    diverged: int = 0

    @property
    def search_score(self) -> float:
        """What it had in the search, and was chosen for."""
        return _score(self.origin)

    @property
    def scores(self) -> tuple[float, ...]:
        """The best validation score of each run; the origin's, which was chosen for being high, is not among them."""
        return tuple(map(_score, self.runs))

    @property
    def mean(self) -> float:
        """Of the scores; there is at least one."""
        return statistics.fmean(self.scores)

    @property
    def spread(self) -> float | None:
        """Standard deviation of the scores (of a sample, n - 1); None for a single one."""
        return statistics.stdev(self.scores) if len(self.runs) > 1 else None

    def best_run(self, direction: Direction) -> TrialRecord:
        """The run whose weights are exported: of equal scores the lowest number."""
        sign = sign_of(direction)
        return max(self.runs, key=lambda run: (sign * _score(run), -run.number))

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, as `tuner status --json` and an export's metrics.json have it."""
        return {
            "trial": self.origin.number,
            "runs": [run.number for run in self.runs],
            "scores": list(self.scores),
            "mean": self.mean,
            "standard_deviation": self.spread,
            "diverged": self.diverged,
            "search_score": self.search_score,
        }


@dataclass(frozen=True)
class Runs:
    """What a confirmation takes. known: runs that have a result or are in flight; missing: for each run that is still
    to be created the trial that it confirms, so that each configuration has its first run before another has two."""

    configurations: int
    known: tuple[TrialRecord, ...]
    missing: tuple[TrialRecord, ...]

    @property
    def unfinished(self) -> tuple[TrialRecord, ...]:
        """Those that are in flight."""
        return tuple(run for run in self.known if not run.is_finished)


def best_configurations(trials: Iterable[TrialRecord], direction: Direction) -> list[TrialRecord]:
    """For each configuration whose weights are kept its best trial of the search, the best first.

    A trial that trained another one longer has that one's configuration.
    """
    sign = sign_of(direction)
    kept = [trial for trial in trials if trial.confirms is None and trial.best_checkpoint is not None]
    kept.sort(key=lambda trial: (-sign * _score(trial), trial.number))
    best: dict[Any, TrialRecord] = {}
    for trial in kept:
        best.setdefault(_configuration(trial), trial)
    return list(best.values())


def runs_for(trials: Iterable[TrialRecord], direction: Direction, max_epochs: int, wanted: Confirmation) -> Runs:
    """Which runs `wanted` takes, over the epochs that a complete trial has now."""
    trials = list(trials)
    chosen = wanted.chosen(trials, direction)
    known: list[TrialRecord] = []
    missing: list[tuple[int, TrialRecord]] = []
    for origin in chosen:
        runs = [run for run in _runs_of(origin, trials, max_epochs) if _counts(run)]
        # Runs that are over come first: of those in flight not all may be wanted.
        mine = sorted(runs, key=lambda run: (not run.is_finished, run.number))
        known += mine if all(run.is_finished for run in mine) else mine[: wanted.seeds]
        missing += [(repetition, origin) for repetition in range(len(mine), wanted.seeds)]
    missing.sort(key=lambda pair: pair[0])
    return Runs(len(chosen), tuple(known), tuple(origin for _, origin in missing))


def ranking(study: Study, wanted: Confirmation | None = None) -> list[Confirmed]:
    """The configurations with fresh runs, the highest mean (lowest, where less is better) first; those of which runs
    diverged come behind all others.

    wanted: of those that it asks for only.
    """
    confirming = [trial for trial in study.trials if trial.confirms is not None]
    if not confirming:
        return []
    direction, found = study.spec.direction, []
    origins = best_configurations(study.trials, direction) if wanted is None else wanted.chosen(study.trials, direction)
    for origin in origins:
        runs = _runs_of(origin, confirming, study.max_epochs)
        scored = tuple(run for run in runs if run.state == "complete" and run.best_checkpoint is not None)
        if scored:
            found.append(Confirmed(origin, scored, diverged=sum(map(_diverged, runs))))
    return sorted(found, key=lambda one: (one.diverged, -sign_of(direction) * one.mean, one.origin.number))


def runs_that_failed(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Runs that ended without any result, of all configurations."""
    return [trial for trial in trials if trial.confirms is not None and not _counts(trial)]


def _runs_of(origin: TrialRecord, trials: Iterable[TrialRecord], max_epochs: int) -> list[TrialRecord]:
    return [
        trial
        for trial in trials
        if trial.confirms is not None and trial.max_epochs == max_epochs and trial.params == origin.params
    ]


def _counts(run: TrialRecord) -> bool:
    """Whether a run needs no other in its place: what failed for want of memory or a worker says nothing."""
    return run.state != "failed" or _diverged(run)


def _diverged(run: TrialRecord) -> bool:
    return run.state == "failed" and (run.reason or {}).get("kind") == "diverged"


def _configuration(trial: TrialRecord) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(trial.params.items()))


def _score(trial: TrialRecord) -> float:
    assert trial.best_checkpoint is not None, "only trials whose weights are kept are looked at"
    return float(trial.best_checkpoint["score"])
