"""What TPE is shown of the trials of a study with several objectives.

Optuna's multi-objective TPE (Ozaki et al. 2022) puts trials in the order of their layers, but knows no pruned ones
among them. Here those are shown as complete ones with a worse score than any that was trained to the end, in the order
in which TPE with one objective has them: those that got farther first. Their costs are what they are.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuner.search.sampler import StudyWithEvidence

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


class FrontStudy(StudyWithEvidence):
    """A study all of whose ended trials are complete ones, to its samplers. Made anew for each suggestion."""

    def __init__(
        self, study_name: str, storage: BaseStorage, evidence: Sequence[FrozenTrial], costs: Sequence[str]
    ) -> None:
        super().__init__(study_name, storage, evidence)
        self._costs = costs
        self._ended: list[FrozenTrial] | None = None

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        if self._ended is None:
            self._ended = self._all_complete(super()._get_trials(deepcopy, None, use_cache))
        return [trial for trial in self._ended if states is None or trial.state in states]

    def _all_complete(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        sign = 1.0 if self.directions[0] == StudyDirection.MAXIMIZE else -1.0
        scores = [sign * trial.values[0] for trial in trials if trial.state == TrialState.COMPLETE]
        lowest, spread = min(scores, default=0.0), max(scores, default=0.0) - min(scores, default=0.0)
        pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
        pruned.sort(key=lambda trial: _last(trial, sign), reverse=True)
        step = (spread or 1.0) / max(1, len(pruned))
        below = {trial.number: sign * (lowest - step * place) for place, trial in enumerate(pruned, 1)}
        return [self._shown(trial, below[trial.number]) if trial.number in below else trial for trial in trials]

    def _shown(self, trial: FrozenTrial, score: float) -> FrozenTrial:
        shown = copy.copy(trial)
        shown.state = TrialState.COMPLETE
        costs = trial.user_attrs["costs"]
        shown.values = [score, *(costs[name] for name in self._costs)]
        return shown


def _last(trial: FrozenTrial, sign: float) -> tuple[int, float]:
    """The epoch at which it ended, and the score there, of which more is better."""
    epoch, score = max(trial.intermediate_values.items())
    return epoch, sign * score
