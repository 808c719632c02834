"""A search whose checkpoints cannot be saved: nothing more is launched, and no trial is lost for it.

A file stands for the room on the disk; the real thing, one worker under a limit of the kernel, is in test_checkpoints.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.factories import new_spec
from tests.replay import Watcher, check_decisions, read_ledger
from tests.trainables import Saving, scripted_score
from tuner.errors import TunerError
from tuner.exchange import Report
from tuner.launch import load_study
from tuner.search import driver
from tuner.search.record import StudyRecord
from tuner.spec import Resources
from tuner.store import catalog
from tuner.store.journal import MemoryJournal
from tuner.submit import ray_cluster
from tuner.training.checkpoint_ref import CheckpointRef

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
FULL = "cannot write the checkpoint /s/epoch-0003.safetensors: No space left on device"


class NeedsRoom(Saving):
    """Saves while there is a file `<ledger>.room`."""

    def result(self, number, attempt):
        if Path(f"{self.ledger}.room").exists():
            return super().result(number, attempt)
        return Report(epoch=self.epoch, score=scripted_score(number, self.epoch), save_error=FULL)


def test_a_search_on_a_full_disk_stops_with_the_way_on_and_is_completed_once_there_is_room(
    redis_client, tmp_path, caplog
):
    spec = new_spec(storage=str(tmp_path / "storage"), trials=6)
    catalog.create_study(redis_client, "test", spec.to_json())
    ledger = tmp_path / "ledger"

    with ray_cluster(None, Resources(gpus=0, workers=2)) as (slots, _):

        def run():
            return driver.run(spec, redis_client, slots, cache=ledger, show=Watcher().show, trainable=NeedsRoom)

        with pytest.raises(TunerError) as caught:
            run()
        assert str(caught.value) == (
            f"{FULL}; the search stopped, no trial is lost: make room there, then go on with: tuner resume test"
        )
        stopped = load_study(redis_client, "test")
        before = read_ledger(ledger)
        assert 1 <= len(stopped.trials) <= 2, "what ran when the first save failed, and nothing after it"
        assert (stopped.state, stopped.counts["complete"], stopped.counts["failed"]) == ("stopped", 0, 0)
        assert [record.getMessage() for record in caplog.records if "nothing more is launched" in record.message] == [
            f"{FULL}; nothing more is launched until one can be saved"
        ]

        Path(f"{ledger}.room").touch()
        study, _ = run()
    assert (study.state, study.counts["failed"]) == ("complete", 0)
    assert study.counts["complete"] >= 1
    finished = {trial.number for trial in stopped.trials if trial.is_finished}
    assert {number for number, *_ in read_ledger(ledger)[len(before) :]} & finished == set()
    check_decisions(redis_client, study)


def saved(epoch):
    ref = CheckpointRef(f"/s/{epoch}", "a" * 64, epoch, 0.5)
    return {"checkpoint": ref, "best": ref}


def test_one_checkpoint_that_could_be_saved_shows_that_there_is_room_again():
    record = StudyRecord(new_spec(trials=4), MemoryJournal())
    first, second = record.next_assignment(), record.next_assignment()
    assert record.report(first, Report(1, 0.5, save_error=FULL)) is True
    assert record.next_assignment() is None
    assert record.report(second, Report(1, 0.6)) is True  # none was due
    assert record.next_assignment() is None
    assert record.report(second, Report(2, 0.6, **saved(2))) is True
    assert record.next_assignment().number == 2
    assert (record.brake.out_of_room, record.stopping) == (False, False)


def test_a_search_that_has_nothing_left_to_launch_is_not_stopped_for_want_of_room():
    record = StudyRecord(new_spec(trials=2), MemoryJournal())
    good, bad = record.next_assignment(), record.next_assignment()
    for epoch in range(1, 10):
        record.report(good, Report(epoch, 0.5, **saved(epoch)))
    assert record.report(bad, Report(1, 0.1, save_error=FULL)) is False
    assert [trial.state for trial in record.records()] == ["complete", "pruned"]
    assert record.next_assignment() is None
    assert (record.exhausted, record.brake.out_of_room) == (True, False)
