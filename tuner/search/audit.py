"""A recorded study, walked once more: each suggestion and each decision taken again from what the journal held then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.storages.journal._storage import JournalOperation  # Optuna's own name for the operations; it has no other

from tuner import asha
from tuner.search.trials import Trials
from tuner.spec import StudySpec
from tuner.store.journal import Journal, MemoryJournal, replaying
from tuner.study import TrialRecord, read_study


@dataclass
class Audit:
    """What came of it. differences: one line each, in the order of the journal; empty if all is as recorded."""

    suggestions: int = 0
    decisions: int = 0
    differences: list[str] = field(default_factory=list)


def audit(spec: StudySpec, journal: Journal, told: Callable[[int, int], None] | None = None) -> Audit:
    """Take every suggestion and every decision of the study again, each from the entries before it alone.

    told: called with the number of entries walked and of all. A suggestion repeats with the versions of Optuna and
    numpy that made it; others may draw other numbers. Raises StoreError if the journal cannot be the study's.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would tell of the study in memory
    with replaying(spec.name):
        return _Walk(spec, journal, told or (lambda _done, _all: None)).run()


class _Walk:
    def __init__(self, spec: StudySpec, journal: Journal, told: Callable[[int, int], None]) -> None:
        self._spec = spec
        self._entries = journal.read_logs(0)
        self._told = told
        study = read_study(spec, journal, None)
        self._records = {trial.number: trial for trial in study.trials}
        self._rungs: dict[int, list[float]] = {level: [] for level in spec.rungs(study.max_epochs)}
        self._found = Audit()
        self._created = 0

    def run(self) -> Audit:
        past = MemoryJournal()
        trials: Trials | None = None
        number = 0
        for index, entry in enumerate(self._entries):
            operation = entry["op_code"]
            if operation == JournalOperation.CREATE_TRIAL:
                trials = trials or Trials(self._spec, past)
                record = self._records[number]
                # A trial that continues another one has its parameters from that one.
                wanted = None if record.continues is not None else trials.suggested(number, self._created)
                past.append_logs([entry])
                if wanted is not None:
                    self._compare_suggestion(record, wanted)
                number += 1
            else:
                past.append_logs([entry])
                if operation == JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE:
                    record = self._records[entry["trial_id"]]
                    self._compare_decision(record, entry["step"], entry["intermediate_value"])
            self._told(index + 1, len(self._entries))
        return self._found

    def _compare_suggestion(self, record: TrialRecord, wanted: dict[str, Any]) -> None:
        self._created += 1
        self._found.suggestions += 1
        if record.params != {name: wanted[name] for name in self._spec.space.dimensions if name in wanted}:
            self._found.differences.append(
                f"trial {record.number} was given {record.params}, and would be given {wanted} now"
            )

    def _compare_decision(self, record: TrialRecord, epoch: int, score: float) -> None:
        if epoch not in record.rungs(self._spec):
            return
        peers = self._rungs[epoch]
        decision = asha.decide(score, peers, self._spec.reduction_factor, self._spec.direction)
        reason = record.reason or {}
        stopped = reason if reason.get("kind") == "asha" and reason.get("rung") == epoch else None
        self._found.decisions += 1
        if decision.go_on != (stopped is None):
            does, did = ("goes on", "was stopped") if decision.go_on else ("is stopped", "went on")
            self._found.differences.append(
                f"trial {record.number} {did} at the rung of epoch {epoch} with {score:.4f}, and {does} now: rank "
                f"{decision.rank} of {decision.peers + 1}, cutoff {decision.cutoff}"
            )
        elif stopped is not None:
            recorded = (stopped.get("rank"), stopped.get("peers"), stopped.get("cutoff"))
            if recorded != (decision.rank, decision.peers, decision.cutoff):
                self._found.differences.append(
                    f"trial {record.number} was stopped at the rung of epoch {epoch} for (rank, peers, cutoff) = "
                    f"{recorded}, and would be for {(decision.rank, decision.peers, decision.cutoff)} now"
                )
        peers.append(score)
