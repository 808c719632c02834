"""The trace of an epoch: a file that viewers read, of an epoch like any other."""

from __future__ import annotations

import gzip
import json
import logging

from tuner.training.config import Hyperparameters
from tuner.training.loop import TrialTrainer
from tuner.training.tracing import traced_epoch

HP = Hyperparameters(depth=1, width=4, batch_size=8)


def new_trainer(data):
    return TrialTrainer(HP, data, max_epochs=2, seed=0, device="cpu")


def test_a_traced_epoch_gives_what_it_gives_without_and_its_operators_are_in_the_file(stripes, tmp_path, one_thread):
    traced = traced_epoch(new_trainer(stripes), tmp_path / "trace.json.gz")
    plain = new_trainer(stripes).run_epoch()
    assert (traced.score, traced.val_loss, traced.train_loss) == (plain.score, plain.val_loss, plain.train_loss)
    with gzip.open(tmp_path / "trace.json.gz") as file:
        events = json.load(file)["traceEvents"]
    names = {event.get("name") for event in events}
    assert {"aten::conv2d", "aten::cross_entropy_loss"} <= names
    assert [file.name for file in tmp_path.iterdir()] == ["trace.json.gz"]


def test_a_trace_that_cannot_be_written_is_a_warning_and_the_epoch_counts(stripes, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "tuner.training.tracing"):
        report = traced_epoch(new_trainer(stripes), tmp_path / "no" / "folder" / "trace.json")
    assert report.epoch == 1
    assert "the trace cannot be written" in caplog.text


def test_who_watches_the_steps_hears_of_each(stripes):
    seen = []
    new_trainer(stripes).run_epoch(after_step=lambda: seen.append(True))
    assert len(seen) == len(stripes.train_indices) // HP.batch_size
