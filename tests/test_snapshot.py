"""A study read by its snapshot: what the whole journal gives, or nothing."""

from __future__ import annotations

import hashlib
import json
import random
import zlib
from dataclasses import replace

import pytest

from tests.factories import new_spec
from tuner.confirmed import Confirmation
from tuner.exchange import Failure, Report
from tuner.search.record import StudyRecord
from tuner.search.spending import Spending
from tuner.snapshot import Moment, Rows, study_by_snapshot, write
from tuner.spec import Resources
from tuner.store import snapshot as store_snapshot
from tuner.store.journal import MemoryJournal
from tuner.store.snapshot import pack, tie, unpack
from tuner.study import Study, read_study
from tuner.training.checkpoint_ref import CheckpointRef
from tuner.usage import Share

DRIVER = {"host": "here", "pid": 1, "user": "me", "since_s": 0}
STEPS = 250


class Store:
    """A Redis that holds a journal of this process and the snapshot `text`, packed."""

    def __init__(self, journal, text):
        self.entries = [journal.text(index) for index in range(journal.length())]
        self.text = pack([text.encode(errors="surrogatepass")]).decode()

    def strlen(self, _key):
        return len(self.text)

    def get(self, _key):
        return self.text

    def lindex(self, _key, index):
        return self.entries[index]

    def lrange(self, _key, start, end):
        return self.entries[start : end + 1]


class Search:
    """A study that anything may happen to; `spec` as it is stored."""

    def __init__(self, seed, **changes):
        self.draw = random.Random(seed)
        self.now_s = 0.0
        self.spec = new_spec(**{"trials": 25, "max_epochs": 6, "budget": "100gpuh", **changes})
        self.journal = MemoryJournal()
        self.rows = Rows()
        self.begin_driver()

    def begin_driver(self):
        """Another life, maybe with other resources."""
        given = replace(self.spec, resources=Resources(gpus=1, trials_per_gpu=self.draw.choice([1, 2])))
        share = Share(self.draw.choice([1.0, 0.5]), 1)
        self.record = StudyRecord(given, self.journal, spending=Spending(given, share, lambda: self.now_s))
        self.rows = Rows()

    def step(self):
        record, draw = self.record, self.draw
        self.now_s += draw.uniform(0.1, 5.0)
        live = list(record.live.values())
        event = draw.choice(
            ["launch"] * 6 + ["report"] * 15 + ["lose"] * 2 + ["fail", "nan", "die", "longer", "confirm"]
        )
        if event == "die" and draw.random() < 0.3:
            self.begin_driver()
        elif event == "launch" and len(live) < 4:
            assignment = record.next_assignment()
            if assignment is not None:
                record.spending.runs(assignment.number)
        elif event == "longer" and draw.random() < 0.3:
            record.train_longer(record.max_epochs + 3)
        elif event == "confirm" and draw.random() < 0.3:
            record.confirm(Confirmation(1, 2))
            for _ in range(draw.choice([0, 1, 2])):
                record.next_assignment()
            for assignment in list(record.live.values()):
                self.change("report", assignment)
            self.begin_driver()
        elif live and event in ("report", "lose", "fail", "nan"):
            self.change(event, draw.choice(live))

    def change(self, event, assignment):
        if event == "lose":
            for _ in range(self.draw.choice([1, 1, 3])):
                self.record.lose(assignment, "gone", begun=self.draw.random() < 0.8)
                assignment = self.record.next_assignment() or assignment
        elif event == "fail":
            self.record.report(assignment, Failure("error", "boom", "Traceback\n  File x"))
        else:
            values = self.record.records()[assignment.number].values
            epoch = (values[-1][0] if values else assignment.start_epoch) + (self.draw.random() < 0.9)
            score = float("nan") if event == "nan" else round((assignment.number * 7 % 10 + self.draw.random()) / 11, 2)
            saved = CheckpointRef(f"/s/é-{assignment.number}-{epoch}", "a" * 64, max(1, epoch), score)
            restarted = "its checkpoint is damaged" if self.draw.random() < 0.1 else ""
            waited = 5 * (self.draw.random() < 0.02)
            report = Report(max(1, epoch), score, 0.1, 0.2, 1.5, "w", saved, saved, restarted=restarted, waited=waited)
            if not self.record.report(assignment, report):
                self.record.release(assignment)

    def snapshot(self):
        entries = self.journal.length()
        moment = Moment(
            self.record.trials.all(),
            self.record.trials.attributes,
            entries,
            tie(self.journal.text(0), self.journal.text(entries - 1)),
        )
        return b"".join(write(self.spec, moment, self.rows)).decode()

    def whole(self, driver=None):
        return read_study(self.spec, self.journal, driver)

    def quick(self, text, driver=None):
        return study_by_snapshot(Store(self.journal, text), self.spec, driver)


def everything(study: Study):
    """All that is known, with what is not compared."""
    return [vars(trial) for trial in study.trials], {**vars(study), "trials": None}


@pytest.mark.parametrize("asha", ["stop", "promote"])
@pytest.mark.parametrize("seed", range(6))
def test_a_snapshot_and_what_came_later_are_what_the_whole_journal_gives(seed, asha):
    search = Search(seed, asha=asha)
    texts = [search.snapshot()]
    for _ in range(STEPS):
        search.step()
        if search.draw.random() < 0.1:
            texts.append(search.snapshot())
        if search.draw.random() < 0.15:
            for text in (search.draw.choice(texts), texts[-1]):
                driver = search.draw.choice([None, DRIVER])
                quick = search.quick(text, driver)
                assert quick is not None
                assert everything(quick) == everything(search.whole(driver))
                assert quick.status() == search.whole(driver).status()
    texts.append(search.snapshot())
    assert everything(search.quick(texts[-1])) == everything(search.whole())


def test_the_searches_of_that_test_have_trials_of_every_kind():
    seen = set()
    for asha in ("stop", "promote"):
        for seed in range(3):
            search = Search(seed, asha=asha)
            for step in range(STEPS):
                search.step()
                if step % 25 == 0:
                    seen |= {kind for trial in search.whole(DRIVER).trials for kind in kinds(trial)}
    states = {"complete", "pruned", "failed", "paused", "queued", "running"}
    assert seen == {*states, "asha", "plateau", "diverged", "error", "lost", "again", "continues", "confirms", None}


def kinds(trial):
    yield trial.state
    yield (trial.reason or {}).get("kind")
    is_so = {
        "again": trial.attempt > 1,
        "continues": trial.continues is not None,
        "confirms": trial.confirms is not None,
    }
    yield from (kind for kind, so in is_so.items() if so)


@pytest.fixture(scope="module")
def search():
    search = Search(1, asha="promote")
    for _ in range(120):
        search.step()
    text = search.snapshot()
    assert {type(stored) for stored in json.loads(text)["trials"]} == {list, dict}
    return search


def over(content):
    """The first trial that is over."""
    return next(stored for stored in content["trials"] if isinstance(stored, list))


def created(content):
    """The first one that is not."""
    return next(stored for stored in content["trials"] if isinstance(stored, dict))


BAD = {
    "another format": lambda c: c.update(format=2),
    "another order of fields": lambda c: c.update(fields=c["fields"][::-1]),
    "beyond the journal": lambda c: c.update(entries=10**6),
    "beyond any number": lambda c: c.update(entries=10**30),
    "a shorter journal": lambda c: c.update(entries=c["entries"] - 1),
    "no entries": lambda c: c.update(entries=0),
    "true entries": lambda c: c.update(entries=True),
    "another journal": lambda c: c.update(tie="0" * 64),
    "trials that are no list": lambda c: c.update(trials={}),
    "attributes that are no object": lambda c: c.update(attributes=[]),
    "trials that are numbers": lambda c: c.update(trials=[1]),
    "a trial with a field too few": lambda c: over(c).pop(),
    "a trial in an unknown state": lambda c: over(c).__setitem__(0, "running"),
    "parameters that are a list": lambda c: over(c).__setitem__(c["fields"].index("params"), []),
    "scores that are text": lambda c: over(c).__setitem__(c["fields"].index("values"), [[1], ["0.5"]]),
    "more epochs than scores": lambda c: over(c).__setitem__(c["fields"].index("values"), [[1, 2], [0.5]]),
    "a checkpoint without an epoch": lambda c: over(c).__setitem__(c["fields"].index("best_checkpoint"), {"score": 1}),
    "usage that is text": lambda c: over(c).__setitem__(c["fields"].index("usage"), ["a", None]),
    "an attempt of a text": lambda c: over(c).__setitem__(c["fields"].index("usage"), [[[1, 1, "2", True]], None]),
    "another operation in the place of a trial": lambda c: created(c).update(op_code=1),
    "a trial of another study": lambda c: created(c).update(study_id=1),
    "a trial that Optuna cannot read": lambda c: created(c).update(distributions=3),
    "nothing": lambda c: c.clear(),
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_a_snapshot_that_is_not_sure_to_be_of_the_journal_is_not_used(search, change):
    content = json.loads(search.snapshot())
    assert search.quick(json.dumps(content)) is not None
    change(content)
    assert search.quick(json.dumps(content)) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"x"', "[" * 10_000, '{"format":1}', "\ud800"])
def test_a_snapshot_that_is_none_is_not_used(search, text):
    assert search.quick(text) is None


def test_a_snapshot_is_not_used_if_entries_follow_that_this_program_does_not_write(search):
    text = search.snapshot()
    store = Store(search.journal, text)
    for entry in ({"op_code": 1, "study_id": 0, "worker_id": "w"}, {"op_code": 5, "trial_id": 0}, [], {"op_code": 6}):
        store.entries = [*Store(search.journal, text).entries, json.dumps(entry)]
        assert study_by_snapshot(store, search.spec, None) is None


def test_a_path_that_is_no_text_leaves_a_study_without_a_snapshot(search):
    alone = Search(3)
    assignment = alone.record.next_assignment()
    saved = CheckpointRef("/s/\udc80", "a" * 64, 1, 0.5)
    alone.record.report(assignment, Report(1, 0.5, checkpoint=saved, best=saved))
    with pytest.raises(TypeError):
        alone.snapshot()


def test_the_tie_is_a_hash_of_the_first_and_the_last_entry():
    assert tie("a", "b") == hashlib.sha256(b"a\nb").hexdigest()
    assert tie("\ud800", "") != tie("", "\ud800")


def test_a_text_is_packed_in_parts_and_comes_back_whole():
    parts = [b"", b'{"a":', *[b"1"] * 9_000, b"}", "é".encode()]
    assert unpack(pack(parts).decode()) == b"".join(parts)
    assert len(pack(parts)) < 200


@pytest.mark.parametrize("packed", ["", "{}", "é", pack([b"a"]).decode()[:-4], "AAAA", "\ud800"])
def test_what_was_not_packed_is_refused(packed):
    with pytest.raises((ValueError, zlib.error)):
        unpack(packed)


def test_a_text_that_would_fill_the_memory_is_neither_written_nor_read(monkeypatch):
    large = pack([b"a" * 10_000]).decode()
    monkeypatch.setattr(store_snapshot, "LARGEST", 1_000)
    assert unpack(pack([b"a" * 500, b"a" * 499]).decode()) == b"a" * 999
    with pytest.raises(ValueError, match="too large"):
        unpack(large)
    with pytest.raises(ValueError, match="its 1001 bytes, "):
        pack([b"a" * 500, b"a" * 501])
