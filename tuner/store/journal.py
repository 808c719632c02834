"""Optuna's journal as one append-only list: in Redis for searches, in memory for tests and simulation.

Every backend keeps an entry as its canonical JSON, so that what a live study sees is what a rebuilt one will read.
A journal has one writer: not several processes, which the fence enforces, and not several threads.
"""

from __future__ import annotations

import abc
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis
from optuna.storages.journal import BaseJournalBackend
from redis.exceptions import AuthenticationError, ConnectionError, ReadOnlyError, TimeoutError

from tuner.errors import LeaseLost, StoreError
from tuner.store.client import load_script, redis_errors
from tuner.store.keys import StudyKeys
from tuner.store.lease import OUTAGE_S

PAGE_ENTRIES = 2_000

# Redis is away, loading its data, or failing over: the same append may succeed later.
_TRANSIENT = (ConnectionError, TimeoutError, ReadOnlyError)
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0

_log = logging.getLogger(__name__)


class Journal(BaseJournalBackend, abc.ABC):
    """What all journals share: give one to `optuna.storages.JournalStorage`."""

    def __init__(self) -> None:
        self._collected: list[str] | None = None
        self._storage_is_ahead = False

    @contextmanager
    def transition(self) -> Iterator[None]:
        """Collect what is appended inside the block and write it at the end, all or nothing.

        Reads inside the block see the collected entries. If the block or the write raises, they are discarded; but
        Optuna's storage has replayed them in memory, so the caller must build a new `JournalStorage` on this journal,
        which reads it from the start. Until then the journal refuses everything else with AssertionError, as it does a
        transition inside a transition. Raises what `append_logs` raises.
        """
        assert self._collected is None, "a transition inside a transition could not be undone alone"
        self._collected = []
        try:
            yield
            if self._collected:
                self._write(self._collected)
        except BaseException:
            self._storage_is_ahead = bool(self._collected)
            raise
        finally:
            self._collected = None

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries in one write, or collect them in a transition. Called by Optuna.

        Raises ValueError for a number that JSON has not (NaN, infinity) and TypeError for an object that it has not,
        both before anything is written; and what the journal's class says.
        """
        self._check_not_ahead()
        entries = [_encode(log) for log in logs]
        if self._collected is not None:
            self._collected += entries
        elif entries:
            self._write(entries)

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        """The entries from index `log_number_from` on. Called by Optuna. Raises StoreError for an unreadable entry."""
        if log_number_from == 0:
            self._storage_is_ahead = False
        self._check_not_ahead()
        written, collected = self._read(), self._collected or []
        entries = written[log_number_from:] + collected[max(0, log_number_from - len(written)) :]
        return [_decode(text, index) for index, text in enumerate(entries, start=log_number_from)]

    def length(self) -> int:
        """How many entries `read_logs(0)` returns. Raises what that raises."""
        return len(self._read()) + len(self._collected or [])

    @abc.abstractmethod
    def _write(self, entries: list[str]) -> None:
        """Append `entries` atomically."""

    @abc.abstractmethod
    def _read(self) -> list[str]:
        """All entries that are written. The caller does not change the list."""

    def _check_not_ahead(self) -> None:
        assert not self._storage_is_ahead, "a transition was discarded: build a new JournalStorage on this journal"


class MemoryJournal(Journal):
    """A journal that ends with the process."""

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[str] = []

    def _write(self, entries: list[str]) -> None:
        self._entries += entries

    def _read(self) -> list[str]:
        return self._entries


class RedisJournal(Journal):
    """The journal of study `name`.

    With the `fence` of a lease it is the driver's: it appends, and after its first read it reads without a round trip,
    since nobody else can append. Without one it reads only, and each read fetches what is new, a page at a time.

    An append that gets no answer is repeated for `retry_s` seconds: it is applied once however often it is sent.

    Appending raises LeaseLost if a later lease was given or the study was deleted, StoreError if the journal was opened
    for reading, is not as long as this writer left it, or Redis refuses or stays away. Reading raises StoreError if
    Redis fails, if entries that were already read have gone, and for an entry that is not a JSON object.
    """

    def __init__(
        self,
        client: redis.Redis,
        name: str,
        fence: int | None = None,
        *,
        retry_s: float = OUTAGE_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__()
        self._client = client
        self._keys = StudyKeys(name)
        self._fence = fence
        self._retry_s = retry_s
        self._clock = clock
        self._sleep = sleep
        self._script = load_script(client, "append.lua")
        self._entries: list[str] = []
        self._may_lack_entries = True

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        if self._fence is None:
            raise StoreError(
                f"the journal of study {self._keys.name!r} is open for reading only: just the driver that holds the "
                "study's lease writes to it"
            )
        super().append_logs(logs)

    def _write(self, entries: list[str]) -> None:
        index = len(self._read())
        # If no answer comes, only Redis knows whether the entries were appended: the next read asks.
        self._may_lack_entries = True
        state, found = self._append(index, entries)
        name = self._keys.name
        if state == "fence":
            raise LeaseLost(
                f"study {name!r} was taken over or deleted: this driver holds fence {self._fence}, the newest is "
                f"{found or 'gone'}; nothing more is written, see `tuner status {name}`"
            )
        if state == "length":
            raise StoreError(
                f"the journal of study {name!r} holds {found} entries where its driver left {index}: Redis lost "
                f"entries, or something else wrote to it; check its persistence, then `tuner resume {name}`"
            )
        self._entries += entries
        self._may_lack_entries = False

    def _append(self, index: int, entries: list[str]) -> tuple[str, int | str]:
        assert self._fence is not None, "append_logs refuses without a fence"
        keys = [self._keys.journal, self._keys.fence]
        args: list[str | int] = [self._fence, index, *entries]
        doing = f"appending to the journal of study {self._keys.name!r}"
        began_s, pause_s = self._clock(), _FIRST_PAUSE_S
        while True:
            with redis_errors(doing):
                try:
                    state, found = self._script(keys, args)
                    return state, found
                except AuthenticationError:
                    raise
                except _TRANSIENT as error:
                    if self._clock() - began_s >= self._retry_s:
                        raise
                    if pause_s == _FIRST_PAUSE_S:
                        _log.warning("Redis does not answer (%s); trying again for %.0f s", error, self._retry_s)
            self._sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _read(self) -> list[str]:
        if self._fence is None or self._may_lack_entries:
            self._fetch()
            self._may_lack_entries = False
        return self._entries

    def _fetch(self) -> None:
        while True:
            seen = len(self._entries)
            # The last entry seen is read again: if it is not there, the list is not the one that was read.
            start = max(0, seen - 1)
            with redis_errors(f"reading the journal of study {self._keys.name!r}"):
                page = self._client.lrange(self._keys.journal, start, start + PAGE_ENTRIES - 1)
            if seen and page[:1] != self._entries[-1:]:
                raise StoreError(
                    f"the journal of study {self._keys.name!r} was rolled back or deleted: entry {seen - 1}, which was "
                    "read before, is no longer there; check that Redis persists, and start this command again"
                )
            self._entries += [str(text) for text in page[seen - start :]]
            if len(page) < PAGE_ENTRIES:
                return


def _encode(log: dict[str, Any]) -> str:
    return json.dumps(log, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _decode(text: str, index: int) -> dict[str, Any]:
    try:
        entry = json.loads(text)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        raise StoreError(
            f"entry {index} of the journal is not a JSON object but {text[:100]!r}; the study cannot be read"
        )
    return entry
