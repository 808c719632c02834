"""What TPE is shown of the trials that have ended: the order in which it would put them, told in the cheapest form.

Optuna's TPE sorts all of them anew for each dimension of each suggestion, pruned ones by their last epoch and the score
there, through properties that compute their answer each time: most of what a suggestion took. Of the order it uses who
is among the best, and nothing else.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Container, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuner.search.sampler import StudyWithEvidence
from tuner.warmstart import BEST

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

_ENDED = {TrialState.COMPLETE, TrialState.PRUNED}
_NO_CONSTRAINTS: dict[str, float] = {}


class RankedTrial(FrozenTrial):
    """What TPE reads of a trial that has ended; all else that a `FrozenTrial` has raises AttributeError.

    value: beyond that of all others for the best ones, in their order; 0 for the rest.
    """

    __slots__ = ("constraints", "number", "order", "params", "scores", "state", "value", "was")

    constraints: dict[str, float]

    def __init__(self, trial: FrozenTrial, sign: float) -> None:
        self.number = trial.number
        self.params = trial.params
        self.state = TrialState.COMPLETE
        self.value = 0.0
        self.constraints = _NO_CONSTRAINTS
        # What it was made of: Optuna's storage replaces the scores if one is added.
        self.was = trial.state
        self.scores = trial.intermediate_values
        self.order = _order(trial, sign)


class RankedStudy(StudyWithEvidence):
    """A study whose trials that have ended are all complete, with values by which TPE puts them in the same order.

    known: what was shown before, by number; kept from one suggestion to the next.
    """

    def __init__(
        self,
        study_name: str,
        storage: BaseStorage,
        evidence: Sequence[FrozenTrial],
        known: dict[int, RankedTrial],
    ) -> None:
        super().__init__(study_name, storage, evidence)
        self._shown = known
        self._ranked: list[FrozenTrial] | None = None

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        wanted = {state for state in TrialState if states is None or state in states}
        if wanted != _ENDED:
            return super()._get_trials(deepcopy, states, use_cache)
        if self._ranked is None:
            self._ranked = self._rank(super()._get_trials(deepcopy=False, states=_ENDED))
        return self._ranked

    def _rank(self, trials: Sequence[FrozenTrial]) -> list[Any]:
        sign = 1.0 if self.direction == StudyDirection.MAXIMIZE else -1.0
        shown = []
        for trial in trials:
            ranked = self._shown.get(trial.number)
            if ranked is None or ranked.scores is not trial.intermediate_values or ranked.was is not trial.state:
                ranked = self._shown[trial.number] = RankedTrial(trial, sign)
            ranked.value = 0.0
            shown.append(ranked)
        for place, best in enumerate(heapq.nsmallest(BEST, shown, key=attrgetter("order"))):
            best.value = sign * (BEST - place)
        return shown


def _order(trial: FrozenTrial, sign: float) -> tuple[float, float]:
    """Lower comes first: complete trials by value, then pruned ones, those of the latest last epoch first, by score."""
    if trial.state == TrialState.COMPLETE:
        return -math.inf, -sign * trial.values[0]
    if not trial.intermediate_values:
        return 1.0, 0.0
    epoch, score = max(trial.intermediate_values.items())
    return -float(epoch), math.inf if math.isnan(score) else -sign * score
