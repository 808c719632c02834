"""A search without Ray: the real record over a journal in memory and the real worker, with Tune's calls made by hand,
so that a test can damage what it likes between any two of them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.factories import new_space, new_spec
from tuner.exchange import Assignment, Failure, Report
from tuner.retention import discard_checkpoints, study_folder
from tuner.search.record import StudyRecord
from tuner.spec import StudySpec
from tuner.store.journal import MemoryJournal
from tuner.study import TrialRecord
from tuner.training.cache import describe
from tuner.training.dataspec import DataSpec
from tuner.worker import Worker

DIGITS = DataSpec(dataset="digits", data_dir="/nowhere")
WIDTH = {"type": "int", "low": 8, "high": 16, "log": False, "step": 8}
SPACE = new_space(dimensions={"width": WIDTH}, constants={"depth": 2, "batch_size": 64, "lr": 0.1, "augment": 0.2})


def digits_spec(storage: Path, cache: Path, **changes: Any) -> StudySpec:
    """One trial of 4 epochs on the digits, with a rung, and so a checkpoint, at epoch 2."""
    fingerprint = describe(DIGITS, cache).fingerprint
    values = {"data": DIGITS, "data_fingerprint": fingerprint, "space": SPACE, "storage": str(storage)}
    return new_spec(**{**values, "trials": 1, "max_epochs": 4, "grace_period": 2, **changes})


class Life:
    """One life of a search: it ends when the object is dropped, and the next one begins over the same journal."""

    def __init__(self, spec: StudySpec, cache: Path, journal: MemoryJournal) -> None:
        study_folder(spec.storage, spec.name).mkdir(parents=True, exist_ok=True)  # as the driver does
        self.record = StudyRecord(spec, journal, lambda trial: discard_checkpoints(spec, trial))
        self._arguments = {"spec_json": spec.to_json(), "cache": str(cache), "threads": 1}
        self._worker: Worker | None = None
        self.assignment: Assignment | None = None
        self.goes_on = False

    def launch(self) -> Assignment:
        """Give the next assignment to the worker."""
        assignment = self.record.next_assignment()
        assert assignment is not None, "there is nothing to launch"
        return self.begin(assignment)

    def begin(self, assignment: Assignment) -> Assignment:
        """Give `assignment` to the worker."""
        self.assignment = assignment
        self.goes_on = True
        if self._worker is None:
            self._worker = Worker.__new__(Worker)
            self._worker.setup(asdict(self.assignment), **self._arguments)
        else:
            self._worker.reset_config(asdict(self.assignment))
        return self.assignment

    def step(self) -> Report | Failure:
        """One step of the worker, recorded."""
        assert self._worker is not None
        assert self.assignment is not None
        outcome = self._worker.step()["report"]
        self.goes_on = self.record.report(self.assignment, outcome)
        return outcome

    def train(self) -> list[Report | Failure]:
        """Launch the next trial and run it to its end: what it reported."""
        self.launch()
        outcomes = []
        while self.goes_on:
            outcomes.append(self.step())
        return outcomes

    def trial(self, number: int = 0) -> TrialRecord:
        """The trial as the journal has it."""
        return self.record.records()[number]

    def attributes(self, number: int = 0) -> dict[str, Any]:
        """The trial's attributes in the journal."""
        return dict(self.record.trials[number].user_attrs)
