"""When the driver of a study keeps a snapshot of it: now and then while it searches, and at its end.

A snapshot costs some tenths of a second at 10,000 trials. So one is made whenever the journal has grown by a part of
itself, which makes them few, and by a thread of its own, so that no worker waits for it.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from typing import TYPE_CHECKING

from tuner import snapshot
from tuner.errors import first_line
from tuner.search.onethread import OneThread
from tuner.search.trials import Trials
from tuner.spec import StudySpec
from tuner.store import catalog
from tuner.store.journal import Journal
from tuner.store.snapshot import pack, tie, write_snapshot

if TYPE_CHECKING:
    import redis

FIRST_ENTRIES = 4_000  # a journal that is shorter is read in less time than the program takes to start
GROWTH = 0.2
_PATIENCE_S = 10.0

_log = logging.getLogger(__name__)


class Snapshots:
    """Of one study, by the driver that holds `fence`. No error in it is the search's: it is logged."""

    def __init__(self, client: redis.Redis, trials: Trials, journal: Journal, fence: int) -> None:
        self._client = client
        self._name = trials.spec.name
        self._trials = trials
        self._journal = journal
        self._fence = fence
        self._rows = snapshot.Rows()
        self._covered = 0
        self._thread = OneThread("snapshot")
        self._newest: Future[None] | None = None

    def changed(self) -> None:
        """The journal has grown: make a snapshot if it is time. To be called where nothing is half written."""
        due = self._journal.length() - self._covered >= max(FIRST_ENTRIES, GROWTH * self._covered)
        if due and (self._newest is None or self._newest.done()):
            self._newest = self._thread.submit(self._keep, self._now())

    def close(self) -> None:
        """Make the last one, which covers all that was written; none after an interruption within a commit."""
        try:
            if self._newest is not None:
                self._newest.result(_PATIENCE_S)
            if self._journal.length() > self._covered:
                self._keep(self._now())
        except Exception as error:
            self._failed(error)

    def end(self) -> None:
        """Let the thread end, and with it what it holds."""
        self._thread.shutdown()

    def _now(self) -> snapshot.Moment:
        """What the thread may use, while this one goes on: Optuna replaces a trial that changes."""
        self._covered = self._journal.length()
        first, last = self._journal.text(0), self._journal.text(self._covered - 1)
        return snapshot.Moment(self._trials.all(), self._trials.attributes, self._covered, tie(first, last))

    def _keep(self, moment: snapshot.Moment) -> None:
        try:
            # As those read it who look; a driver may have other resources.
            spec = StudySpec.from_json(catalog.read_spec(self._client, self._name))
            packed = pack(snapshot.write(spec, moment, self._rows))
            write_snapshot(self._client, self._name, self._fence, packed)
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        _log.info("no snapshot was made of study %r, whose journal is read instead: %s", self._name, first_line(error))
