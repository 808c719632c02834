"""Optuna's journal as one append-only list: in Redis for searches, in memory for tests and simulation.

Every backend keeps an entry as its canonical JSON, so that what a live study sees is what a rebuilt one will read.
A journal has one writer: not several processes, which the fence enforces, and not several threads.
"""

from __future__ import annotations

import abc
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from optuna.storages.journal import BaseJournalBackend

from tuner.errors import StoreError, TunerError, first_line
from tuner.store.client import load_script
from tuner.store.entries import decode, encode
from tuner.store.keys import StudyKeys
from tuner.store.lease import superseded
from tuner.store.packed import PackedTexts
from tuner.store.patience import OUTAGE_S, Patience

PAGE_ENTRIES = 2_000

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

        Raises ValueError for a number that JSON has not (NaN, infinity), TypeError for an object that it has not, and
        StoreError for an entry above 1 MiB, all before anything is written; and what the journal's class says.
        """
        self._check_not_ahead()
        entries = [encode(log) for log in logs]
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
        if log_number_from >= len(written) + len(collected):
            return []  # as mostly: Optuna asks before each look at a trial
        entries = [*written[log_number_from:], *collected[max(0, log_number_from - len(written)) :]]
        return [decode(text, index) for index, text in enumerate(entries, start=log_number_from)]

    def length(self) -> int:
        """How many entries `read_logs(0)` returns. Raises what that raises."""
        return len(self._read()) + len(self._collected or [])

    def text(self, index: int) -> str:
        """Entry `index` as it is written. Raises what `read_logs` raises."""
        return self._read()[index]

    def first(self, entries: int) -> MemoryJournal:
        """Its first entries, as a journal of their own. Raises what `read_logs` raises."""
        journal = MemoryJournal()
        journal._write(list(self._read()[:entries]))
        return journal

    @abc.abstractmethod
    def _write(self, entries: list[str]) -> None:
        """Append `entries` atomically."""

    @abc.abstractmethod
    def _read(self) -> Sequence[str]:
        """All entries that are written. The caller does not change them."""

    def _check_not_ahead(self) -> None:
        assert not self._storage_is_ahead, "a transition was discarded: build a new JournalStorage on this journal"


class MemoryJournal(Journal):
    """A journal that ends with the process."""

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[str] = []

    def _write(self, entries: list[str]) -> None:
        self._entries.extend(entries)

    def _read(self) -> list[str]:
        return self._entries


class RedisJournal(Journal):
    """The journal of study `name`.

    With the `fence` of a lease it is the driver's: it appends, and after its first read it reads without a round trip,
    since nobody else can append. Without one it reads only, and each read fetches what is new, a page at a time.

    What gets no answer is repeated for `retry_s` seconds (10 minutes for a driver, else 0): an append is applied once
    however often it is sent. `revive`, `gives_up`, `clock`, `sleep`: see `Patience`. If Redis comes back without the
    newest entries, an append writes them again, from what the driver holds. `on_append` is called with the seconds
    after which an append was answered.

    Appending raises LeaseLost if a later lease was given or the study was deleted, StoreUnavailable if Redis stays
    away, StoreError if the journal was opened for reading, does not begin as this writer left it, or Redis refuses.
    Reading raises StoreUnavailable and StoreError likewise, if entries that were already read have gone, and for an
    entry that is not a JSON object of at most 1 MiB.
    """

    def __init__(
        self,
        client: redis.Redis,
        name: str,
        fence: int | None = None,
        *,
        retry_s: float | None = None,
        revive: Callable[[], object] | None = None,
        gives_up: Callable[[], bool] = lambda: False,
        on_append: Callable[[float], None] = lambda _seconds: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__()
        self._client = client
        self._keys = StudyKeys(name)
        self._fence = fence
        if retry_s is None:
            retry_s = 0.0 if fence is None else OUTAGE_S
        self._patience = Patience(name, retry_s, revive=revive, gives_up=gives_up, clock=clock, sleep=sleep)
        self._on_append = on_append
        self._script = load_script(client, "append.lua")
        # A driver runs for days and needs them only if Redis loses some; who reads wants all of them, at once.
        self._entries: list[str] | PackedTexts = [] if fence is None else PackedTexts()
        self._may_lack_entries = True

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        if self._fence is None:
            raise StoreError(
                f"the journal of study {self._keys.name!r} is open for reading only: just the driver that holds the "
                "study's lease writes to it"
            )
        super().append_logs(logs)

    def settle(self) -> None:
        """Make sure that Redis still holds all that this driver wrote; its last act. Raises what appending raises."""
        assert self._collected is None, "a transition ends before its journal settles"
        self._write([])

    def _write(self, entries: list[str]) -> None:
        index = len(self._read())
        # If no answer comes, only Redis knows whether the entries were appended: the next read asks.
        self._may_lack_entries = True
        state, found = self._append(index, entries)
        if state == "length" and int(found) < index + len(entries):
            state, found = self._append_with_what_was_lost(entries)
        name = self._keys.name
        if state == "fence":
            assert self._fence is not None
            raise superseded(name, self._fence, str(found))
        if state == "length":
            raise StoreError(
                f"the journal of study {name!r} holds {found} entries where its driver left {index}: Redis lost "
                f"entries, or something else wrote to it; check its persistence, then `tuner resume {name}`"
            )
        self._entries.extend(entries)
        self._may_lack_entries = False

    def _append(self, index: int, entries: list[str]) -> tuple[str, int | str]:
        assert self._fence is not None, "append_logs refuses without a fence"
        keys = [self._keys.journal, self._keys.fence]
        args: list[str | int] = [self._fence, index, *entries]

        def send() -> tuple[str, int | str]:
            began_s = time.perf_counter()
            state, found = self._script(keys, args)
            self._on_append(time.perf_counter() - began_s)
            return state, found

        return self._patience.call(f"appending to the journal of study {self._keys.name!r}", send)

    def _append_with_what_was_lost(self, entries: list[str]) -> tuple[str, int | str]:
        """Append `entries` after those that Redis lost, if it holds the beginning of what this writer left."""
        left = [*self._entries, *entries]
        found: list[str] = []
        while len(found) <= len(left):
            page = self._page(len(found))
            found += page
            if len(page) < PAGE_ENTRIES:
                break
        if len(found) >= len(left) or found != left[: len(found)]:
            return "length", len(found)
        answer = self._append(len(found), left[len(found) :])
        if answer[0] == "ok":
            _log.warning(
                "Redis lost the newest %d entries of the journal of study %r; they are written again. It may lose "
                "more: check its persistence (appendfsync, disk)",
                len(self._entries) - len(found),
                self._keys.name,
            )
        return answer

    def _read(self) -> Sequence[str]:
        if self._fence is None or self._may_lack_entries:
            self._fetch()
            self._may_lack_entries = False
        return self._entries

    def _fetch(self) -> None:
        while True:
            seen = len(self._entries)
            # The last entry seen is read again: if it is not there, the list is not the one that was read.
            start = max(0, seen - 1)
            page = self._page(start)
            if seen and page[:1] != self._entries[-1:]:
                raise StoreError(
                    f"the journal of study {self._keys.name!r} was rolled back or deleted: entry {seen - 1}, which was "
                    "read before, is no longer there; check that Redis persists, and start this command again"
                )
            self._entries.extend(page[seen - start :])
            if len(page) < PAGE_ENTRIES:
                return

    def _page(self, start: int) -> list[str]:
        def fetch() -> list[str]:
            page = self._client.lrange(self._keys.journal, start, start + PAGE_ENTRIES - 1)
            return [str(text) for text in page]

        return self._patience.call(f"reading the journal of study {self._keys.name!r}", fetch)


@contextmanager
def replaying(name: str) -> Iterator[None]:
    """Around what reads the journal of study `name` with Optuna: raises StoreError if it cannot be a study's.

    Optuna replays what it finds there unchecked, so that entries of something else end in any exception.
    """
    try:
        yield
    except TunerError:
        raise
    except Exception as error:
        raise StoreError(
            f"the journal of study {name!r} holds entries that tuner did not write ({type(error).__name__}: "
            f"{first_line(error, limit=100)}); the study cannot be read"
        ) from error
