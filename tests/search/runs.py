"""A search by hand, without Tune: what trials score is a function of their numbers."""

from __future__ import annotations

from tests.trainables import scripted_score
from tuner.exchange import Report
from tuner.search.record import StudyRecord
from tuner.training.config import Value


def run(record: StudyRecord, trials: int) -> list[dict[str, Value]]:
    """Runs so many trials to their end, one after the other; their parameters."""
    params = []
    for _ in range(trials):
        assignment = record.next_assignment()
        params.append(assignment.params)
        for epoch in range(1, 10):
            if not record.report(assignment, Report(epoch, scripted_score(assignment.number, epoch), 1.0, "here:1")):
                break
    return params
