"""The worker by itself, without a cluster: Tune's calls made by hand, real training on the digits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from tests.factories import new_space, new_spec
from tuner.exchange import Failure, Report
from tuner.retention import trial_folder
from tuner.training.cache import describe
from tuner.training.dataspec import DataSpec
from tuner.worker import Worker

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
SPACE = new_space(constants={"depth": 2, "batch_size": 64, "optimizer": "adamw"})
PARAMS = {"lr": 0.01, "width": 16, "norm": "batch"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def new_worker(cache, tmp_path):
    """Makes a worker that has its first assignment."""

    def make(**changes):
        data = DataSpec(dataset="digits", data_dir="/nowhere")
        values = {"space": SPACE, "max_epochs": 4, "grace_period": 2, "storage": str(tmp_path)}
        fingerprint = describe(data, cache).fingerprint
        spec = new_spec(**{**values, "data": data, "data_fingerprint": fingerprint, **changes})
        worker = Worker.__new__(Worker)
        worker.setup(assignment(0), spec_json=spec.to_json(), cache=str(cache), threads=1)
        return worker

    threads = torch.get_num_threads()
    yield make
    torch.set_num_threads(threads)


def assignment(number, **changes):
    return {"number": number, "attempt": 1, "params": PARAMS, "start_epoch": 0, "checkpoint": None, **changes}


def step(worker):
    return worker.step()["report"]


def test_a_trial_is_trained_epoch_by_epoch_and_saved_at_rungs_and_at_the_end(new_worker, tmp_path):
    worker = new_worker()
    reports = [step(worker) for _ in range(4)]
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    assert reports[1].checkpoint is not None
    assert reports[3].checkpoint is not None
    assert Path(reports[3].best.path).parent == trial_folder(str(tmp_path), "test", 0) / "attempt-1"
    assert reports[3].best.score == max(report.score for report in reports)
    assert 0.5 < reports[3].score <= 1.0


def test_the_next_trial_has_nothing_of_the_one_before(new_worker):
    worker, fresh = new_worker(), new_worker()
    step(worker)
    assert worker.reset_config(assignment(7)) is True
    fresh.reset_config(assignment(7))
    second, alone = step(worker), step(fresh)
    assert dataclasses.replace(second, seconds=0) == dataclasses.replace(alone, seconds=0)


def test_a_lost_trial_goes_on_from_its_checkpoint_as_if_nothing_had_been(new_worker):
    whole = new_worker()
    reports = [step(whole) for _ in range(4)]
    interrupted = new_worker()
    saved = [step(interrupted) for _ in range(2)][1].checkpoint
    resumed = new_worker()
    resumed.reset_config(assignment(0, attempt=2, start_epoch=2, checkpoint=saved.as_dict()))
    rest = [step(resumed) for _ in range(2)]
    assert [(report.epoch, report.score, report.train_loss) for report in rest] == [
        (report.epoch, report.score, report.train_loss) for report in reports[2:]
    ]


def test_a_damaged_checkpoint_begins_the_trial_again_and_says_so(new_worker):
    worker = new_worker()
    saved = [step(worker) for _ in range(2)][1].checkpoint
    Path(saved.path).write_bytes(Path(saved.path).read_bytes()[:-1])
    worker.reset_config(assignment(0, attempt=2, start_epoch=2, checkpoint=saved.as_dict()))
    report = step(worker)
    assert (report.epoch, saved.path in report.restarted) == (1, True)
    assert step(worker).restarted == ""


def test_a_learning_rate_that_explodes_fails_the_trial_and_the_worker_takes_the_next_one(new_worker):
    worker = new_worker(space=new_space(constants={"depth": 1, "l2": 1.0}))
    worker.reset_config(assignment(0, params={**PARAMS, "lr": 10.0, "norm": "none"}))
    outcomes = [step(worker) for _ in range(2)]
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert [failure.kind for failure in failures[:1]] == ["diverged"]
    worker.reset_config(assignment(1))
    assert isinstance(step(worker), Report)


def test_a_configuration_that_makes_no_network_fails_with_the_reason(new_worker):
    worker = new_worker(space=new_space(constants={"depth": 8, "padding": "valid", "kernel_size": 7}))
    failure = step(worker)
    assert (failure.kind, failure.traceback) == ("error", "")
    assert "valid" in failure.detail


def test_changed_data_is_a_failure_that_names_the_data_set(new_worker):
    failure = step(new_worker(data_fingerprint="f" * 64))
    assert failure == Failure("error", failure.detail)
    assert "digits is not the one that the study was created with" in failure.detail


def test_out_of_memory_is_named_and_the_worker_goes_on(new_worker, monkeypatch):
    from tuner.training.loop import TrialTrainer

    worker = new_worker()

    def full(self):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nmore")

    with monkeypatch.context() as patched:
        patched.setattr(TrialTrainer, "run_epoch", full)
        assert step(worker) == Failure("out_of_memory", "CUDA out of memory. Tried to allocate 9 GiB")
    worker.reset_config(assignment(1))
    assert isinstance(step(worker), Report)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")])
def test_memory_that_runs_out_on_the_cpu_is_out_of_memory_too(new_worker, monkeypatch, error):
    from tuner.training.loop import TrialTrainer

    def full(self):
        raise error

    worker = new_worker()
    monkeypatch.setattr(TrialTrainer, "run_epoch", full)
    assert step(worker).kind == "out_of_memory"


def test_a_reserved_gpu_that_torch_cannot_find_is_said_instead_of_training_on_the_cpu(new_worker, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    worker = new_worker()
    worker._gpu = True
    failure = step(worker)
    assert (failure.kind, "torch finds none" in failure.detail) == ("error", True)


def test_a_poisoned_device_ends_the_process_instead_of_the_next_trials(new_worker, monkeypatch):
    from tuner.training.loop import TrialTrainer

    def poisoned(self):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(TrialTrainer, "run_epoch", poisoned)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        new_worker().step()
