"""What is told to Ray's metrics; that Ray exports it is in `integration/test_telemetry.py`."""

from __future__ import annotations

import time

import pytest

from tests.factories import new_ref, new_spec, new_trial
from tuner import telemetry
from tuner.telemetry import SearchMetrics, WorkerMetrics


class Recorded:
    """Stands for a metric of Ray: what was recorded, under name and tags."""

    values: dict[tuple[str, ...], list[float]]

    def __init__(self, name, description, *rest):
        *_, self.keys = rest
        self.name = name

    def record(self, value, tags):
        assert tuple(tags) == self.keys
        self.values.setdefault((self.name, *tags.values()), []).append(value)

    set = inc = observe = record


@pytest.fixture
def recorded(monkeypatch):
    """Everything recorded, in place of Ray: (name, *values of the tags) -> values."""
    for kind in ("Counter", "Gauge", "Histogram"):
        monkeypatch.setattr(telemetry, kind, Recorded)
    monkeypatch.setattr(Recorded, "values", {}, raising=False)
    return Recorded.values


def newest(recorded, name):
    return {key[2:]: values[-1] for key, values in recorded.items() if key[0] == name}


def test_states_and_stops_go_on_from_what_the_journal_holds(recorded):
    stopped = {"kind": "asha", "rung": 3, "rank": 4, "peers": 5, "cutoff": 0.5}
    metrics = SearchMetrics(new_spec(), [new_trial(0, state="complete"), new_trial(1, state="pruned", reason=stopped)])
    for change in ({"state": "running"}, {"state": "running"}, {"state": "pruned", "reason": stopped}):
        metrics.trial_changed(new_trial(2, **change))
    metrics.trial_changed(new_trial(3))
    metrics.close()
    assert {state: count for (state,), count in newest(recorded, "tuner_trials").items()} == {
        "queued": 0,
        "running": 1,
        "paused": 0,
        "complete": 1,
        "pruned": 2,
        "failed": 0,
    }
    assert newest(recorded, "tuner_asha_stops") == {("1",): 0, ("3",): 2}


def newest_best(recorded, **changes):
    metrics = SearchMetrics(new_spec(**changes), [])
    metrics.trial_changed(new_trial(0, best_checkpoint=new_ref(score=0.5)))
    metrics.trial_changed(new_trial(1, best_checkpoint=new_ref(score=0.7)))
    seen = [recorded["tuner_best_score", "test"][-1]]
    metrics.trial_changed(new_trial(1, state="pruned", reason={"rung": 1}, best_checkpoint=None))
    metrics.trial_changed(new_trial(2, state="failed"))
    metrics.close()
    return [*seen, recorded["tuner_best_score", "test"][-1]]


def test_the_best_score_is_the_one_whose_weights_are_kept(recorded):
    assert newest_best(recorded) == [0.7, 0.5]
    assert newest_best(recorded, metric="val_loss") == [0.5, 0.5]


def test_a_gauge_is_told_again_and_again_until_it_is_closed(recorded, monkeypatch):
    monkeypatch.setattr(telemetry, "_REPEAT_S", 0.01)
    metrics = WorkerMetrics("test", 0)
    metrics.epoch(images=64, seconds=0.5, gpu_memory_bytes=1000)
    told = recorded["tuner_gpu_memory_bytes", "test", "0"]
    deadline_s = time.monotonic() + 10
    while len(told) < 3 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    metrics.close()
    assert len(told) >= 3
    assert set(told) == {1000}


def test_a_worker_goes_on_without_metrics_and_says_so_once(recorded, monkeypatch, caplog):
    def broken(self, value, tags):
        raise OSError("no room in shared memory")

    monkeypatch.setattr(Recorded, "inc", broken)
    metrics = WorkerMetrics("test", 0)
    for _ in range(3):
        metrics.epoch(images=64, seconds=0.5, gpu_memory_bytes=None)
        metrics.waited(0.1)
    assert caplog.text.count("it goes on without them") == 1
    assert "no room in shared memory" in caplog.text
