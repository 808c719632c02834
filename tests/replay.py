"""What the tests of the driver compare a study with: the ledger that the trainables wrote, and its decisions again."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from tuner import asha
from tuner.store.keys import StudyKeys


class Watcher:
    """A progress display that remembers, and calls `on_change` if a test gives it one."""

    def __init__(self, on_change=None):
        self.reasons = []
        self.on_change = on_change

    def show(self, trials, wanted):
        return contextlib.nullcontext(self)

    def trial_changed(self, trial):
        if self.on_change is not None:
            self.on_change(trial)

    def stopping(self, why):
        self.reasons.append(why)


def read_ledger(path: Path) -> list[tuple[int, int, int, int]]:
    """Rows (number, attempt, epoch, pid), as the trainables wrote them; none if no worker got so far."""
    if not path.exists():
        return []
    return [tuple(map(int, line.split())) for line in path.read_text().splitlines()]


def check_decisions(redis_client, study):
    """Walk the journal in its order and take each decision again, from the reports before it alone."""
    rungs = {level: [] for level in study.spec.rungs(study.max_epochs)}
    decided = 0
    for text in redis_client.lrange(StudyKeys(study.spec.name).journal, 0, -1):
        entry = json.loads(text)
        if "intermediate_value" not in entry:
            continue
        trial, epoch, score = study.trials[entry["trial_id"]], entry["step"], entry["intermediate_value"]
        if epoch not in trial.rungs(study.spec):
            continue
        decision = asha.decide(score, rungs[epoch], study.spec.reduction_factor)
        reason = trial.reason or {}
        assert decision.go_on == (reason.get("rung") != epoch), (trial.number, epoch)
        if not decision.go_on:
            found = (reason["rank"], reason["peers"], reason["cutoff"])
            assert found == (decision.rank, decision.peers, decision.cutoff)
        rungs[epoch].append(score)
        decided += 1
    assert decided > 0
