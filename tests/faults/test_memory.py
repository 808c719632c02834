"""Memory that runs out: the trial is tried once more in micro-batches, and nothing of it is held afterwards.

The limit is a fake one, on the number of pictures that go through the network at once; all else is real.
"""

from __future__ import annotations

import dataclasses
import weakref
from types import SimpleNamespace

import pytest
import torch

from tests.faults.by_hand import SPACE, Life, digits_spec
from tuner import worker
from tuner.exchange import Failure, Report
from tuner.packing import CONTEXT_BYTES, Memory
from tuner.search.packing import Packing
from tuner.store.journal import MemoryJournal
from tuner.training import loop, memory, models

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


GIB = 1 << 30


@pytest.fixture
def meter(monkeypatch):
    """A GPU of 16 GiB that this process seems to have: it holds 1 GiB before a trial, then `meter.peaks` in turn."""

    said = SimpleNamespace(limits=[], peaks=[])

    class Meter(memory.GpuMeter):
        def _size_bytes(self):
            return 16 * GIB

        def _start_anew(self, limit_bytes):
            said.limits.append(limit_bytes)
            return GIB

        def _peak_since_last(self):
            return said.peaks.pop(0)

    monkeypatch.setattr(memory, "open_meter", lambda *, gpu: Meter())
    return said


def test_a_trial_says_what_it_holds_on_its_gpu_when_that_has_grown(cache, tmp_path, meter):
    meter.peaks = [3 * GIB, 2 * GIB, 4 * GIB, 4 * GIB]
    life = Life(digits_spec(tmp_path, cache), cache, MemoryJournal())
    told = [Memory(3 * GIB, GIB, 16 * GIB), None, Memory(4 * GIB, GIB, 16 * GIB), None]
    assert [report.memory for report in life.train()] == told
    assert life.attributes()["report:3"]["memory"] == {"peak": 4 * GIB, "resident": GIB, "total": 16 * GIB}
    assert meter.limits == [None], "a GPU of its own"


def test_a_trial_that_is_too_large_for_its_part_of_a_gpu_gets_a_larger_one_and_no_micro_batches(
    cache, tmp_path, device, meter
):
    meter.peaks = [2 * GIB] * 9
    life = Life(digits_spec(tmp_path, cache, trials=2), cache, MemoryJournal())
    life.record.packing = Packing(0.25)
    life.launch()
    life.step()
    assert life.launch().part == 0.25
    device.limit = 20
    assert life.step() == Failure("out_of_memory", MESSAGE)
    device.limit = 10**9
    assert life.train()[-1].micro_batch == 0
    assert (life.trial(1).state, life.trial(1).attempt) == ("complete", 2)
    assert meter.limits == [None, 4 * GIB - CONTEXT_BYTES, 8 * GIB - CONTEXT_BYTES]


@pytest.mark.parametrize(
    ("error", "is_that"),
    [
        (torch.OutOfMemoryError(MESSAGE), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
    ],
)
def test_memory_that_runs_out_is_known_by_what_torch_says(error, is_that):
    assert memory.ran_out_of_memory(error) == is_that


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
