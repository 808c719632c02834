"""Trials that share GPUs by what they need: a fold over the journal's memory of what earlier trials held.

It decides where trials run and never which go on; attempts are launched again, and charged with nothing, to move into a
larger part of a GPU or a smaller one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from tuner.errors import UsageError
from tuner.exchange import Assignment, Failure, Report
from tuner.packing import Memory, Predictor, named
from tuner.slots import Slots
from tuner.spec import StudySpec
from tuner.training.config import Value

LEAST = "least_part"  # of a GPU that a trial may have from now on: smaller ones were too small


class Packing:
    """The parts of GPUs that the attempts of one study get; without `smallest` below 1, each gets a whole slot.

    theory: bytes that a trial with these parameters needs by theory, or None. in_order: while an attempt waits for
    its part no other is handed out, or small ones would take each other's places for ever before a large one.
    """

    def __init__(
        self,
        smallest: float = 1.0,
        theory: Callable[[Mapping[str, Value]], int | None] = lambda _params: None,
        *,
        in_order: bool = False,
    ) -> None:
        self.in_order = in_order
        self._shares = smallest < 1
        self._theory = theory
        self._predictor = Predictor(smallest)
        self._launched_unseen: set[int] = set()

    def known(self, trials: Iterable[FrozenTrial]) -> None:
        """What the journal tells of all trials."""
        for trial in trials if self._shares else ():
            for epoch in trial.intermediate_values:
                report = trial.user_attrs.get(f"report:{epoch}", {})
                if "memory" in report:
                    memory, in_parts = Memory(**report["memory"]), "micro_batch" in report
                    self._held(trial.number, trial.params, memory, in_parts=in_parts)
            if LEAST in trial.user_attrs:
                self._predictor.ran_out(trial.number, self._theory(trial.params), trial.user_attrs[LEAST] / 2)

    def _held(self, number: int, params: Mapping[str, Value], memory: Memory, *, in_parts: bool) -> None:
        """in_parts: with micro-batches, since for its whole batches a whole GPU was too small."""
        theory = self._theory(params)
        self._predictor.held(number, theory, memory)
        if in_parts:
            self._predictor.ran_out(number, theory, 1.0)

    def part(self, number: int, params: Mapping[str, Value], attributes: Mapping[str, Any]) -> float:
        """The part of a GPU for the next attempt at trial `number`, which has these attributes in the journal."""
        if not self._shares:
            return 1.0
        if not self._predictor.has_seen:
            self._launched_unseen.add(number)
        return self._predictor.part(self._theory(params), attributes.get(LEAST, 0.0))

    def larger(self, assignment: Assignment, failure: Failure) -> dict[str, Any] | None:
        """What is to be noted of a trial that is launched again in a larger part of a GPU, since its own was too small;
        None if memory is not why it failed, or it had the whole GPU.
        """
        if failure.kind != "out_of_memory" or assignment.part >= 1:
            return None
        self._predictor.ran_out(assignment.number, self._theory(assignment.params), assignment.part)
        least = min(1.0, 2 * assignment.part)
        line = f"out of memory in {named(assignment.part)} ({failure.detail}): goes on in {named(least)}"
        return {LEAST: least, "restarts": line}

    def smaller(self, assignment: Assignment, report: Report) -> bool:
        """Take in what the trial held. Whether it goes on in a smaller part of a GPU: it was launched before anything
        was known, so in a whole one, and its checkpoint is written.
        """
        number, params = assignment.number, assignment.params
        if self._shares and report.memory is not None:
            self._held(number, params, report.memory, in_parts=report.micro_batch > 0)
        if number not in self._launched_unseen or report.checkpoint is None or not self._predictor.has_seen:
            return False
        self._launched_unseen.discard(number)
        return self._predictor.part(self._theory(params)) < assignment.part


def new_packing(spec: StudySpec, slots: Slots, cache: Path) -> Packing:
    """For the trials of `spec` on `slots`; without sharing it knows nothing. cache: folder of decoded data."""
    if slots.smallest_part == 1:
        return Packing()
    return Packing(slots.smallest_part, _theory_of(spec, cache), in_order=not slots.can_grow)


def _theory_of(spec: StudySpec, cache: Path) -> Callable[[Mapping[str, Value]], int | None]:
    """Of the built-in networks only: the driver runs no code of the user's."""
    if spec.model is not None:
        return lambda _params: None
    from tuner.training.cache import describe
    from tuner.training.footprint import footprint_bytes

    info = describe(spec.data, cache)
    shape, classes = (info.channels, info.height, info.width), len(info.classes)

    def theory(params: Mapping[str, Value]) -> int | None:
        try:
            return footprint_bytes(spec.hyperparameters(params), shape, classes)
        except UsageError:  # the worker will say so
            return None

    return theory
