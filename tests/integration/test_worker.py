"""The worker by itself, without a cluster: Tune's calls made by hand, real training on the digits."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch

from tests.factories import new_space, new_spec
from tuner.exchange import Failure, Report
from tuner.retention import study_folder, trial_folder
from tuner.training import loop
from tuner.training.cache import describe
from tuner.training.dataspec import DataSpec
from tuner.training.objectives import OBJECTIVES
from tuner.training.schedule import learning_rate
from tuner.worker import Worker

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
SPACE = new_space(constants={"depth": 2, "batch_size": 64, "optimizer": "adamw"})
PARAMS = {"lr": 0.01, "width": 16, "norm": "batch"}


@pytest.fixture
def new_worker(cache, tmp_path):
    """Makes a worker that has its first assignment."""

    def make(**changes):
        data = DataSpec(dataset="digits", data_dir="/nowhere")
        values = {"space": SPACE, "max_epochs": 4, "grace_period": 2, "storage": str(tmp_path)}
        fingerprint = describe(data, cache).fingerprint
        spec = new_spec(**{**values, "data": data, "data_fingerprint": fingerprint, **changes})
        study_folder(spec.storage, spec.name).mkdir(parents=True, exist_ok=True)  # as the driver does
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


def test_the_score_is_the_one_that_the_study_is_for_and_the_others_are_told_too(new_worker):
    worker = new_worker(metric="val_loss", space=new_space(constants={**SPACE.constants, "class_weight": "balanced"}))
    reports = [step(worker) for _ in range(4)]
    assert [report.score for report in reports] == [report.val_loss for report in reports]
    assert reports[3].best.score == min(report.score for report in reports)
    assert {*OBJECTIVES, "train_loss", "seconds", "worker"} == {*reports[3].details()}
    assert reports[3].scores["val_accuracy"] > 0.5


def test_what_the_network_costs_is_told_once_an_attempt_and_only_if_the_search_is_for_it(new_worker):
    worker = new_worker(costs=("parameters", "latency_ms"))
    first, second = step(worker), step(worker)
    assert first.costs["parameters"] == sum(one.numel() for one in worker._trainer._model.parameters())
    assert 0 < first.costs["latency_ms"] < 1000
    assert second.costs == {}
    worker.reset_config(assignment(1, params={**PARAMS, "width": 32}))
    assert step(worker).costs["parameters"] > first.costs["parameters"]
    # To measure changes nothing of the training.
    assert [first.score, second.score] == [step(plain).score for plain in [new_worker()] for _ in range(2)]


def test_an_epoch_that_ends_the_trial_early_says_so_and_is_saved(new_worker):
    # With so small a rate and without norms nothing changes: each epoch scores the same.
    space = new_space(constants={**SPACE.constants, "stop_patience": 3})
    worker = new_worker(space=space, max_epochs=9, grace_period=9)
    worker.reset_config(assignment(0, params={**PARAMS, "norm": "none", "lr": 1e-7}))
    reports = [step(worker) for _ in range(4)]
    assert [report.waited for report in reports] == [0, 0, 0, 3]
    assert reports[3].checkpoint.epoch == 4


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


@pytest.fixture
def finished(new_worker):
    """The last checkpoint of trial 0, which was trained for all its 4 epochs."""
    worker = new_worker()
    return [step(worker) for _ in range(4)][-1].checkpoint


def longer(checkpoint, **changes):
    """Trial 9, which trains trial 0 for 3 epochs more."""
    values = {"start_epoch": 4, "checkpoint": checkpoint.as_dict(), "max_epochs": 7, "continued_from": 4}
    return assignment(9, **{**values, **changes})


def test_a_finished_trial_is_trained_longer_as_a_trial_of_its_own(new_worker, finished, tmp_path, monkeypatch):
    rates = []

    def noting(*arguments):
        rates.append(learning_rate(*arguments))
        return rates[-1]

    monkeypatch.setattr(loop, "learning_rate", noting)
    worker = new_worker()
    before = Path(finished.path).read_bytes()
    worker.reset_config(longer(finished))
    reports = [step(worker) for _ in range(3)]
    assert [(report.epoch, report.restarted) for report in reports] == [(5, ""), (6, ""), (7, "")]
    last = reports[-1]
    assert Path(last.checkpoint.path).parent == trial_folder(str(tmp_path), "test", 9) / "attempt-1"
    assert last.best.score == max(report.score for report in reports)
    assert Path(finished.path).read_bytes() == before
    assert reports[-1].train_loss < 0.9 * reports[0].train_loss
    assert (max(rates), min(rates)) == pytest.approx((PARAMS["lr"], 0), abs=1e-4), "from the peak to 0 once more"


def test_the_end_of_a_longer_trial_is_saved_and_lost_epochs_of_it_are_trained_again(new_worker, finished):
    whole = new_worker(grace_period=6)
    whole.reset_config(longer(finished))
    reports = [step(whole) for _ in range(3)]
    assert [report.checkpoint is not None for report in reports[1:]] == [True, True]  # the rung at 6, and the end
    again = new_worker(grace_period=6)
    again.reset_config(longer(reports[1].checkpoint, attempt=2, start_epoch=6))
    assert dataclasses.replace(step(again), seconds=0, checkpoint=None, best=None) == dataclasses.replace(
        reports[2], seconds=0, checkpoint=None, best=None
    )


def test_a_longer_trial_whose_origin_is_damaged_is_trained_from_the_beginning(new_worker, finished):
    Path(finished.path).unlink()
    worker = new_worker()
    worker.reset_config(longer(finished))
    reports = [step(worker) for _ in range(7)]
    assert [report.epoch for report in reports] == [1, 2, 3, 4, 5, 6, 7]
    assert reports[0].restarted.endswith(": began at epoch 1 again")


def test_a_machine_that_does_not_see_the_storage_fails_the_trial_with_a_line_that_says_so(new_worker, tmp_path):
    worker = new_worker()
    study_folder(str(tmp_path), "test").rmdir()
    failure = step(worker)
    assert isinstance(failure, Failure)
    assert re.match(r"/.*/test is not there on .*: the storage of a study has to be mounted", failure.detail)
    assert list(tmp_path.iterdir()) == []
