"""Memory that runs out: the trial is tried once more in micro-batches, and nothing of it is held afterwards.

The limit is a fake one, on the number of pictures that go through the network at once; all else is real.
"""

from __future__ import annotations

import dataclasses
import weakref

import pytest
import torch

from tests.faults.by_hand import SPACE, Life, digits_spec
from tuner import worker
from tuner.exchange import Failure, Report
from tuner.store.journal import MemoryJournal
from tuner.training import loop, models

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
MESSAGE = "CUDA out of memory. Tried to allocate 9 GiB"


@pytest.fixture(autouse=True)
def repeatable(monkeypatch, one_thread):
    """One thread, and checkpoints at rungs and at the end only, however fast the disk is."""
    monkeypatch.setattr(worker, "CHECKPOINT_SHARE", 0.0)


@pytest.fixture
def device(monkeypatch):
    """A device on which at most `device.limit` pictures go through a network at once; remembers the most that did."""

    class Device:
        limit = 10**9
        most = 0

    forward = torch.nn.Sequential.forward

    def limited(network, images):
        if len(images) > Device.limit:
            # Held by the frame that it passes through: a cycle, as libraries make them.
            error = torch.OutOfMemoryError(f"{MESSAGE}\nmore lines")
            raise error
        Device.most = max(Device.most, len(images))
        return forward(network, images)

    monkeypatch.setattr(torch.nn.Sequential, "forward", limited)
    return Device


def test_a_trial_too_large_for_the_device_is_trained_in_quarters_of_its_batch_and_says_so(cache, tmp_path, device):
    device.limit = 20
    life = Life(digits_spec(tmp_path, cache), cache, MemoryJournal())
    reports = life.train()
    assert [(report.epoch, report.micro_batch) for report in reports] == [(1, 16), (2, 16), (3, 16), (4, 16)]
    assert device.most == 16
    assert life.trial().state == "complete"
    assert reports[-1].score > 0.8, "it learns as with whole batches"
    attributes = life.attributes()
    assert attributes["report:3"]["micro_batch"] == 16
    assert attributes["restarts"] == [
        "out of memory with batches of 64 (now in parts of 16): began at epoch 1 again",
    ]


def test_whole_batches_are_not_mentioned(cache, tmp_path, device):
    life = Life(digits_spec(tmp_path, cache), cache, MemoryJournal())
    assert {report.micro_batch for report in life.train()} == {0}
    assert "micro_batch" not in life.attributes()["report:1"]
    assert "restarts" not in life.attributes()


def test_a_trial_too_large_even_so_fails_and_the_next_one_has_whole_batches_again(cache, tmp_path, device):
    device.limit = 15
    life = Life(digits_spec(tmp_path, cache, trials=2), cache, MemoryJournal())
    assert life.train() == [Failure("out_of_memory", MESSAGE)]
    assert life.trial().reason == {"kind": "out_of_memory", "detail": MESSAGE}
    device.limit = 10**9
    assert {report.micro_batch for report in life.train()} == {0}
    assert life.trial(1).state == "complete"


@pytest.mark.parametrize(("fails_at", "goes_on_at", "why"), [(4, 3, "went on after epoch 2"), (2, 1, "began at epoch")])
def test_memory_that_runs_out_later_takes_the_trial_back_to_its_checkpoint(
    cache, tmp_path, device, fails_at, goes_on_at, why
):
    life = Life(digits_spec(tmp_path, cache), cache, MemoryJournal())
    life.launch()
    for _ in range(fails_at - 1):
        life.step()
    scores = dict(life.trial().values)
    device.limit = 20
    report = life.step()
    assert (report.epoch, report.micro_batch) == (goes_on_at, 16)
    assert why in report.restarted
    while life.goes_on:
        life.step()
    trial = life.trial()
    assert (trial.state, [epoch for epoch, _ in trial.values]) == ("complete", [1, 2, 3, 4])
    assert scores.items() <= dict(trial.values).items(), "what was reported before stands"


@pytest.mark.parametrize("batch_size", [2, 3])
def test_a_batch_that_has_no_quarters_is_not_tried_again(cache, tmp_path, device, monkeypatch, batch_size):
    device.limit = 1
    tries = []
    monkeypatch.setattr(
        loop.TrialTrainer, "run_epoch", lambda self: (tries.append(1), self._model(torch.zeros(2, 1, 8, 8)))
    )
    space = dataclasses.replace(SPACE, constants={**SPACE.constants, "batch_size": batch_size})
    life = Life(digits_spec(tmp_path, cache, space=space), cache, MemoryJournal())
    assert life.train() == [Failure("out_of_memory", MESSAGE)]
    assert tries == [1]


def test_when_the_device_is_asked_to_free_its_memory_nothing_of_the_trial_is_held_any_more(
    cache, tmp_path, device, monkeypatch
):
    device.limit = 20
    life = Life(digits_spec(tmp_path, cache), cache, MemoryJournal())
    held, alive = [], []
    train_step, build = loop.TrialTrainer._train_step, models.build

    def noting_step(self, indices, rate):
        held.append(weakref.ref(self))
        return train_step(self, indices, rate)

    def noting_build(*arguments):
        network = build(*arguments)
        held.extend(weakref.ref(parameter) for parameter in network.parameters())
        return network

    monkeypatch.setattr(loop.TrialTrainer, "_train_step", noting_step)
    monkeypatch.setattr(models, "build", noting_build)
    with monkeypatch.context() as patched:
        patched.setattr(torch.cuda, "is_available", lambda: True)
        patched.setattr(torch.cuda, "empty_cache", lambda: alive.append(sum(ref() is not None for ref in held)))
        life.launch()
        report = life.step()
    assert isinstance(report, Report)
    assert (alive, len(held) > 10) == ([0], True)
