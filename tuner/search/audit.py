"""A recorded study, walked once more: each suggestion and each decision taken again from what the journal held then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.storages.journal._storage import JournalOperation  # Optuna's own name for the operations; it has no other

from tuner.judging import decide
from tuner.promotion import Promotions
from tuner.search.newtrials import KNEW
from tuner.search.trials import Trials
from tuner.spec import Standing, StudySpec
from tuner.store.journal import Journal, MemoryJournal, replaying
from tuner.study import TrialRecord, read_study


@dataclass
class Audit:
    """What came of it. differences: one line each, in the order of the journal; empty if all is as recorded."""

    suggestions: int = 0
    decisions: int = 0
    differences: list[str] = field(default_factory=list)


def audit(spec: StudySpec, journal: Journal, told: Callable[[int, int], None] | None = None) -> Audit:
    """Take every suggestion and every decision of the study again, each from the entries before it alone, a suggestion
    that was made ahead from those that it knew.

    told: called with the number of entries walked and of all. A suggestion repeats with the versions of Optuna and
    numpy that made it; others may draw other numbers. Raises StoreError if the journal cannot be the study's.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would tell of the study in memory
    with replaying(spec.name):
        return _Walk(spec, journal, told or (lambda _done, _all: None)).run()


def _known(entries: Sequence[Mapping[str, Any]]) -> dict[int, Any]:
    """For the trials that were suggested ahead, how many entries their parameters follow from; by their places among
    those that confirm no other."""
    created = (entry for entry in entries if entry["op_code"] == JournalOperation.CREATE_TRIAL)
    attributes = (entry.get("user_attrs", {}) for entry in created)
    searched = (known for known in attributes if "confirms" not in known)
    return {place: known[KNEW] for place, known in enumerate(searched) if KNEW in known}


class _Walk:
    def __init__(self, spec: StudySpec, journal: Journal, told: Callable[[int, int], None]) -> None:
        self._spec = spec
        self._entries = journal.read_logs(0)
        self._told = told
        study = read_study(spec, journal, None)
        self._records = {trial.number: trial for trial in study.trials}
        self._rungs: dict[int, list[Standing]] = {level: [] for level in spec.rungs(study.max_epochs)}
        self._promotions = Promotions(spec)
        self._found = Audit()
        self._created = 0
        self._knew = _known(self._entries)
        self._past = MemoryJournal()
        self._trials: Trials | None = None

    def run(self) -> Audit:
        number, place = 0, 0
        ahead: dict[str, Any] | None = None
        for index, entry in enumerate(self._entries):
            if index > 0 and self._knew.get(place) == index:
                ahead = self._suggested()
            operation = entry["op_code"]
            if operation == JournalOperation.CREATE_TRIAL:
                record = self._records[number]
                # A trial that continues or confirms another one has its parameters from that one.
                if record.is_wanted:
                    self._compare_suggestion(record, ahead if place in self._knew else self._suggested())
                    if self._spec.asha == "promote":
                        self._compare_promotion(None, f"trial {number} was created")
                number += 1
                if record.confirms is None:
                    place, ahead = place + 1, None
                self._past.append_logs([entry])
            else:
                self._past.append_logs([entry])
                self._compare(operation, entry)
            self._told(index + 1, len(self._entries))
        return self._found

    def _suggested(self) -> dict[str, Any]:
        """From what is known by now."""
        if self._trials is None:
            self._trials = Trials(self._spec, self._past)
        return self._trials.question(self._created).answer()

    def _compare(self, operation: int, entry: dict[str, Any]) -> None:
        if operation == JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE:
            record, epoch, score = self._records[entry["trial_id"]], entry["step"], entry["intermediate_value"]
            if record.number in self._promotions.waiting:
                self._found.differences.append(f"trial {record.number} trained epoch {epoch} and was not promoted")
                self._promotions.over(record.number)
            if epoch in record.rungs(self._spec):
                if self._spec.asha == "promote":
                    self._promotions.arrived(record.number, epoch, self._spec.standing(score, record.costs))
                    if not (record.state == "complete" and epoch == record.values[-1][0]):
                        self._promotions.paused(record.number, epoch)
                else:
                    self._compare_decision(record, epoch, score)
        elif operation == JournalOperation.SET_TRIAL_USER_ATTR and entry["user_attr"].get("paused") == 0:
            number = entry["trial_id"]
            self._compare_promotion(number, f"trial {number} was promoted")
        elif operation == JournalOperation.SET_TRIAL_STATE_VALUES:
            record = self._records[entry["trial_id"]]
            if record.number in self._promotions.waiting:
                self._compare_end(record)
            elif record.state == "complete" and record.confirms is None:
                self._promotions.completed()

    def _compare_promotion(self, number: int | None, did: str) -> None:
        """number: who was promoted; None: a new trial was preferred to all that wait."""
        wanted = self._promotions.promotable()
        if wanted is None and number is not None:
            wanted = self._promotions.last_resort()
        self._found.decisions += 1
        if number != wanted:
            would = "nobody" if wanted is None else f"trial {wanted}"
            self._found.differences.append(f"{did}, and {would} would be promoted now")
        if number in self._promotions.waiting:
            self._promotions.over(number)

    def _compare_end(self, record: TrialRecord) -> None:
        other = self._promotions.promotable()
        if other is None:
            other = self._promotions.last_resort()
        if other is not None:
            self._found.differences.append(f"trial {record.number} ended, and trial {other} would be promoted now")
        wanted = self._promotions.reason(record.number)
        self._promotions.over(record.number)
        if record.reason != wanted:
            self._found.differences.append(
                f"trial {record.number} ended with {record.reason}, and would with {wanted} now"
            )

    def _compare_suggestion(self, record: TrialRecord, wanted: dict[str, Any] | None) -> None:
        """wanted: None if the trial says that it knew less than it had to, or more than there was."""
        self._created += 1
        self._found.suggestions += 1
        if wanted is None:
            self._found.differences.append(
                f"trial {record.number} says that it was suggested from a part of the journal that does not hold all "
                "trials before it, or more than those"
            )
        elif record.params != {name: wanted[name] for name in self._spec.space.dimensions if name in wanted}:
            self._found.differences.append(
                f"trial {record.number} was given {record.params}, and would be given {wanted} now"
            )

    def _compare_decision(self, record: TrialRecord, epoch: int, score: float) -> None:
        peers, standing = self._rungs[epoch], self._spec.standing(score, record.costs)
        decision = decide(self._spec, standing, peers)
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
            wanted = decision.as_reason()
            recorded = {key: stopped.get(key) for key in wanted}
            if recorded != wanted:
                self._found.differences.append(
                    f"trial {record.number} was stopped at the rung of epoch {epoch} for {recorded}, and would be for "
                    f"{wanted} now"
                )
        peers.append(standing)
