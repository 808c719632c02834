"""How often Tune asks Ray for what an attempt runs."""

from __future__ import annotations

import pytest
from ray.tune.error import TuneError
from ray.tune.experiment import Trial, trial

from tuner.search.trainables import looked_up_once


class Work:
    """What is registered."""


def test_an_attempt_is_made_and_asks_what_it_runs_with_one_look_up_for_all(monkeypatch):
    asked = []
    monkeypatch.setattr(trial, "get_trainable_cls", lambda name: asked.append(name) or Work)
    monkeypatch.setattr(trial, "validate_trainable", lambda name: asked.append(f"{name}?"))
    with looked_up_once():
        attempts = [Trial("work", trial_id=str(number), _setup_default_resource=False) for number in range(3)]
        assert [attempt.get_trainable_cls() for attempt in attempts] == [Work] * 3
    assert asked == ["work"]
    Trial("work", trial_id="later", _setup_default_resource=False)
    assert asked == ["work", "work?"]


def test_what_nobody_registered_is_refused_as_by_tune(monkeypatch):
    def unknown(name):
        raise TuneError(f"Unknown trainable: {name}")

    monkeypatch.setattr(trial, "get_trainable_cls", unknown)
    with looked_up_once(), pytest.raises(TuneError, match="Unknown trainable: nothing"):
        Trial("nothing", trial_id="a")
