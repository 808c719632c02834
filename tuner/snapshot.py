"""The snapshot of a study: its trials as the driver had folded them when its journal had so many entries.

To read half a million entries takes seconds; whoever only looks at a study takes its snapshot instead, and of the
journal just what came later. A trial that is over never changes, so that its record stands there as it is; any other
stands there as the entry that would create it, and goes on by the entries that came later, through the same replay and
the same fold as ever. What comes of it is what the whole journal gives, or else the snapshot is not used: it is JSON
from a server, and wherever it is not just as this version writes it, the journal alone is read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import orjson

from tuner.collection import no_collection
from tuner.errors import first_line
from tuner.spec import StudySpec
from tuner.store import catalog, lease
from tuner.store.entries import decode
from tuner.store.packed import PackedTexts
from tuner.store.snapshot import read_entries, read_snapshot, tie
from tuner.study import Study, TrialRecord, fold_study, fold_trial, read_study
from tuner.usage import Attempt, Share, Usage

if TYPE_CHECKING:
    import redis
    from optuna.trial import FrozenTrial

FORMAT = 1

_NUMBER = (float, int)
_NUMBERS, _WHOLE = set(_NUMBER), {int}
_OVER = ("complete", "pruned", "failed")
# What JSON holds for each field of a record but its number.
_KINDS: dict[str, tuple[type, ...]] = {
    "state": (str,),
    "reason": (dict, type(None)),
    "params": (dict,),
    "values": (list,),
    "attempt": (int,),
    "worker": (str, type(None)),
    "seconds": _NUMBER,
    "checkpoint": (dict, type(None)),
    "best_checkpoint": (dict, type(None)),
    "max_epochs": (int, type(None)),
    "continues": (int, type(None)),
    "continued_from": (int,),
    "enqueued": (bool,),
    "usage": (list,),
    "confirms": (int, type(None)),
    "costs": (dict,),
}
_FIELDS = [one.name for one in fields(TrialRecord) if one.name != "number"]
_ROW = [_KINDS[name] for name in _FIELDS]
_VALUES, _USAGE, _STATE = (_FIELDS.index(name) for name in ("values", "usage", "state"))
_CHECKPOINTS = [_FIELDS.index(name) for name in ("checkpoint", "best_checkpoint")]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Moment:
    """A study as its driver knows it: all of its trials, its attributes, how many entries its journal has, and their
    `tie`."""

    trials: Sequence[FrozenTrial]
    attributes: Mapping[str, Any]
    entries: int
    tie: str


class Rows:
    """The trials that are over, each as the JSON of its row, in the order in which they ended."""

    def __init__(self) -> None:
        self.numbers: dict[int, None] = {}
        self.texts = PackedTexts(block=64)

    def add(self, number: int, text: str) -> None:
        """The row of a trial that has none yet."""
        self.texts.extend([text])
        self.numbers[number] = None


def write(spec: StudySpec, moment: Moment, rows: Rows) -> Iterator[bytes]:
    """The snapshot of a moment, as JSON, in parts.

    spec: as it is stored. rows: of trials that were over before; gets those that are over now. Raises TypeError for
    what orjson refuses, such as half a surrogate pair in a path: such a study has no snapshot.
    """
    waiting = []
    for trial in moment.trials:
        if not trial.state.is_finished():
            waiting.append(trial)
        elif trial.number not in rows.numbers:
            rows.add(trial.number, orjson.dumps(_as_row(fold_trial(spec, trial, life=None))).decode())
    created = dict(zip((trial.number for trial in waiting), _as_created(waiting), strict=True))
    content = {
        "format": FORMAT,
        "fields": _FIELDS,
        "entries": moment.entries,
        "tie": moment.tie,
        "attributes": moment.attributes,
    }
    yield orjson.dumps(content)[:-1] + b',"trials":['
    ended = zip(rows.numbers, rows.texts, strict=True)
    early: dict[int, str] = {}  # of those that ended before one with a lower number
    for number in range(len(moment.trials)):
        while number not in created and number not in early:
            one, text = next(ended)
            early[one] = text
        part = orjson.dumps(created[number]) if number in created else early.pop(number).encode()
        yield b"," + part if number else part
    yield b"]}"


def look_at(client: redis.Redis, name: str | None) -> Study:
    """The study `name`, or the newest one, for whoever only looks. Raises StudyNotFound, StoreError."""
    name = catalog.newest(client) if name is None else name
    spec = StudySpec.from_json(catalog.read_spec(client, name))
    holder = lease.holder(client, name)
    driver = None if holder is None else holder.describe()
    study = study_by_snapshot(client, spec, driver)
    if study is None:
        from tuner.store.journal import RedisJournal

        study = read_study(spec, RedisJournal(client, name), driver)
    return study


def study_by_snapshot(client: redis.Redis, spec: StudySpec, driver: dict[str, Any] | None) -> Study | None:
    """The study as `read_study` would give it; None if it has no snapshot that is sure to be of its journal."""
    try:
        with no_collection():
            return _read(client, spec, driver)
    except Exception as error:
        # Whatever somebody may have put there: what is wrong with the journal is told by whoever reads that.
        _log.debug("the snapshot of study %r is not used: %s", spec.name, first_line(error))
        return None


def _read(client: redis.Redis, spec: StudySpec, driver: dict[str, Any] | None) -> Study | None:
    text = read_snapshot(client, spec.name)
    if text is None:
        return None
    content = orjson.loads(text)
    if content["format"] != FORMAT or content["fields"] != _FIELDS:
        raise ValueError("it is of another version")
    trials, attributes, covered = content["trials"], content["attributes"], content["entries"]
    if type(trials) is not list or type(attributes) is not dict or type(covered) is not int or covered < 1:
        raise ValueError("it is damaged")
    first, left = read_entries(client, spec.name, covered - 1)
    if not left or tie(first, left[0]) != content["tie"]:
        raise ValueError("it is of another journal, or of entries that are not there")
    over = {number: _as_record(number, stored) for number, stored in enumerate(trials) if type(stored) is list}
    new = [decode(entry, index) for index, entry in enumerate(left[1:], start=covered)]
    others: list[FrozenTrial] = []
    if new or len(over) < len(trials):
        from tuner.store.merged import replay, replayable

        created = [None if number in over else stored for number, stored in enumerate(trials)]
        entries = replayable(decode(first, 0), attributes, created, new)
        replayed, attributes = replay(spec.name, _Entries(entries))
        others = [trial for trial in replayed if trial.number not in over]
    study = fold_study(spec, others, attributes, driver)
    records = sorted((*over.values(), *study.trials), key=lambda trial: trial.number)
    return replace(study, trials=tuple(records))


class _Entries:
    """What `replay` reads as a journal."""

    def __init__(self, entries: list[dict[str, Any]]) -> None:
        self._entries = entries

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return self._entries[log_number_from:]


def _as_created(trials: Sequence[FrozenTrial]) -> list[dict[str, Any]]:
    """For each trial the entry that creates it as it is, in Optuna's own words."""
    from optuna.storages import JournalStorage

    from tuner.store.journal import MemoryJournal
    from tuner.store.merged import CREATE_STUDY

    journal = MemoryJournal()
    journal.append_logs([{"op_code": CREATE_STUDY, "worker_id": "", "study_name": "", "directions": [1]}])
    storage = JournalStorage(journal)
    for trial in trials:
        storage.create_new_trial(0, template_trial=trial)
    return journal.read_logs(1)


def _as_row(trial: TrialRecord) -> list[Any]:
    """The fields of a record but its number, as JSON holds them; `_as_record` is the way back."""
    row = [getattr(trial, name) for name in _FIELDS]
    row[_VALUES] = [[epoch for epoch, _ in trial.values], [score for _, score in trial.values]]
    attempts = [[one.share.gpus, one.share.cpus, one.seconds, one.over] for one in trial.usage.attempts]
    row[_USAGE] = [attempts, trial.usage.epoch_s]
    return row


def _as_record(number: int, row: list[Any]) -> TrialRecord:
    """Raises ValueError, TypeError or KeyError for what `_as_row` cannot have written."""
    for value, kinds in zip(row, _ROW, strict=True):
        if type(value) not in kinds:
            raise ValueError(f"trial {number}: {value!r}")
    epochs, scores = row[_VALUES]
    attempts, epoch_s = row[_USAGE]
    checkpoints = [row[index] for index in _CHECKPOINTS if row[index] is not None]
    numbers = [*scores, *(one["score"] for one in checkpoints), *([] if epoch_s is None else [epoch_s])]
    whole = [*epochs, *(one["epoch"] for one in checkpoints)]
    if row[_STATE] not in _OVER or not set(map(type, numbers)) <= _NUMBERS or not set(map(type, whole)) <= _WHOLE:
        raise ValueError(f"trial {number}: {row!r}")
    row[_VALUES] = list(zip(epochs, scores, strict=True))
    row[_USAGE] = Usage(tuple(_as_attempt(*one) for one in attempts), epoch_s)
    return TrialRecord(number, *row)


def _as_attempt(gpus: object, cpus: object, seconds: object, over: object) -> Attempt:
    known = type(gpus) in _NUMBER and type(cpus) is int and type(seconds) in _NUMBER and type(over) is bool
    if not known:
        raise ValueError(f"attempt {(gpus, cpus, seconds, over)!r}")
    return Attempt(Share(gpus, cpus), seconds, over)  # type: ignore[arg-type]
