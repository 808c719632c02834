"""A search by hand, without Tune, and what its workers would report."""

from __future__ import annotations

from concurrent.futures import Executor, Future

from tests.factories import new_spec
from tests.trainables import scripted_score
from tuner.exchange import Report
from tuner.search.record import StudyRecord
from tuner.store.journal import MemoryJournal
from tuner.training.checkpoint_ref import CheckpointRef
from tuner.training.config import Value


class AtOnce(Executor):
    """Runs what is submitted before anything else happens; `calls`: how often."""

    def __init__(self):
        self.calls = 0

    def submit(self, call, /, *args, **kwargs):
        self.calls += 1
        future = Future()
        future.set_result(call(*args, **kwargs))
        return future


def new_record(journal=None, **changes):
    return StudyRecord(new_spec(**changes), journal or MemoryJournal())


def report(epoch, score, **changes):
    return Report(**{"epoch": epoch, "score": score, "seconds": 1.0, "worker": "here:1", **changes})


def saved(epoch, score, best_epoch=None, best_score=None):
    last = CheckpointRef(f"/s/epoch-{epoch}", "a" * 64, epoch, score)
    best = CheckpointRef(f"/s/best-{best_epoch or epoch}", "b" * 64, best_epoch or epoch, best_score or score)
    return {"checkpoint": last, "best": best}


def run_to_the_end(record, score=0.5, max_epochs=9):
    assignment = record.next_assignment()
    for epoch in range(assignment.start_epoch + 1, max_epochs + 1):
        if not record.report(assignment, report(epoch, score)):
            break
    return assignment


def trial(record, number):
    return record.records()[number]


def run(record: StudyRecord, trials: int) -> list[dict[str, Value]]:
    """Runs so many trials to their end, one after the other; their parameters. Scores are a function of the number."""
    params = []
    for _ in range(trials):
        assignment = record.next_assignment()
        params.append(assignment.params)
        for epoch in range(1, 10):
            if not record.report(assignment, Report(epoch, scripted_score(assignment.number, epoch), 1.0, "here:1")):
                break
    return params
