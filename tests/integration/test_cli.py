"""The program as a user has it: the `tuner` command as a process, on scikit-learn's digits, from search to export."""

from __future__ import annotations

import gzip
import json
import signal

import numpy as np
import onnxruntime
import pytest

from tests.program import new_program
from tuner.training.dataspec import DataSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def tuner():
    with new_program() as program:
        yield program


@pytest.fixture(scope="module")
def first(tuner):
    """What a small search on the digits printed."""
    return tuner("search", "digits", "--gpus", "0", "--trials", "6", "--max-epochs", "8", "--name", "first")


def test_a_search_says_what_it_does_and_what_comes_next(first):
    assert "data set digits: 10 classes" in first
    assert "study first: space digits, 6 trials of up to 8 epochs" in first
    assert "Ray dashboard: http://127.0.0.1:" in first
    assert "ray get-auth-token" in first
    assert "trial 5 starts: depth=" in first
    assert first.splitlines()[-1] == "export the best model with `tuner export-best first`"


def test_status_json_has_the_documented_keys(tuner, first):
    status = json.loads(tuner("status", "first", "--json"))
    assert set(status) == {
        *("name", "state", "dataset", "space", "trials", "trials_wanted", "best", "metric", "direction", "max_epochs"),
        *(
            "rungs",
            "epochs_trained",
            "worker_seconds",
            "seed",
            "warm_start",
            "driver",
            "budget",
            "confirmed",
            "objectives",
            "front",
        ),
    }
    assert (status["name"], status["state"], status["dataset"], status["driver"]) == (
        "first",
        "complete",
        "digits",
        None,
    )
    assert set(status["trials"]) == {"queued", "running", "paused", "complete", "pruned", "failed"}
    assert sum(status["trials"].values()) == 6
    assert set(status["best"]) == {"trial", "epoch", "value", "params", "costs"}
    first_rung, second_rung = status["rungs"]
    assert (first_rung["epoch"], first_rung["arrived"], second_rung["epoch"]) == (2, 6, 6)
    assert second_rung["arrived"] == 6 - first_rung["stopped"]
    assert "best: val_accuracy" in tuner("status", "first")


def test_trials_json_is_a_list_of_documented_entries(tuner, first):
    trials = json.loads(tuner("trials", "first", "--json"))
    assert [trial["number"] for trial in trials] == list(range(6))
    for trial in trials:
        keys = ["number", "state", "reason", "params", "values", "attempt", "worker", "seconds", "continues"]
        assert list(trial) == [*keys, "enqueued", "confirms", "costs"]
        assert trial["state"] in ("complete", "pruned", "failed")
        assert [epoch for epoch, _ in trial["values"]] == list(range(1, len(trial["values"]) + 1))
    assert "why it ended" in tuner("trials", "first")


def test_without_a_name_the_newest_study_is_meant(tuner, first):
    assert json.loads(tuner("status", "--json"))["name"] == "first"
    assert [entry["name"] for entry in json.loads(tuner("list", "--json"))] == ["first"]
    assert "first" in tuner("list")


def test_checkpoints_of_pruned_trials_are_gone_and_those_of_complete_ones_are_kept(tuner, first):
    trials = json.loads(tuner("trials", "first", "--json"))
    kept = {int(folder.name.removeprefix("trial-")) for folder in (tuner.home / "checkpoints" / "first").iterdir()}
    assert kept == {trial["number"] for trial in trials if trial["state"] == "complete"}


def test_the_exported_model_does_on_the_test_split_what_its_metrics_say(tuner, first):
    printed = tuner("export-best", "first", "--out", "best")
    folder = tuner.home / "best"
    assert f"exported to {folder}" in printed
    names = {path.name for path in folder.iterdir()}
    assert {"model.onnx", "weights.safetensors", "config.json", "labels.txt", "metrics.json", "README.md"} <= names

    from tuner.training.testsplit import load_test_split

    data = DataSpec(dataset="digits", data_dir=str(tuner.home / "data"))
    test = load_test_split(data, tuner.home / "cache")
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"images": np.asarray(test.images)})
    metrics = json.loads((folder / "metrics.json").read_text())
    assert float((probabilities.argmax(1) == test.labels).mean()) == pytest.approx(metrics["accuracy"], abs=1e-9)
    assert metrics["accuracy"] > 0.9
    status = json.loads(tuner("status", "first", "--json"))
    assert metrics["validation"]["score"] == status["best"]["value"]

    again = tuner("export-best", "first", "--out", "best", code=2)
    assert "--force" in again
    tuner("export-best", "first", "--out", "best", "--force")


def test_a_finished_study_goes_on_when_more_trials_are_wanted(tuner, first):
    before = json.loads(tuner("trials", "first", "--json"))
    tuner("resume", "first", "--trials", "8")
    after = json.loads(tuner("trials", "first", "--json"))
    assert after[:6] == before
    assert len(after) == 8
    assert json.loads(tuner("status", "first", "--json"))["trials_wanted"] == 8


def test_ctrl_c_keeps_everything_and_says_how_to_go_on(tuner, first):
    process = tuner.start("search", "digits", "--gpus", "0", "--trials", "30", "--name", "second")
    try:
        tuner.wait_until(lambda: tuner.finished("second") >= 2, process)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, printed
    assert "nothing is lost, go on with `tuner resume second`" in printed
    assert "Traceback" not in printed
    interrupted = json.loads(tuner("trials", "second", "--json"))
    assert json.loads(tuner("status", "second", "--json"))["state"] == "stopped"
    assert [trial for trial in interrupted if trial["state"] == "running"] == []

    tuner("resume", "second", "--trials", str(len(interrupted)))
    resumed = json.loads(tuner("trials", "second", "--json"))
    assert [trial["params"] for trial in resumed] == [trial["params"] for trial in interrupted]
    done = [trial for trial in interrupted if trial["state"] in ("complete", "pruned")]
    assert [resumed[trial["number"]] for trial in done] == done
    assert json.loads(tuner("status", "second", "--json"))["state"] == "complete"


def test_a_deleted_study_is_gone_with_its_checkpoints(tuner, first):
    tuner("search", "digits", "--gpus", "0", "--workers", "1", "--trials", "1", "--max-epochs", "1")
    assert (tuner.home / "checkpoints" / "digits").is_dir()
    assert tuner("delete", "digits", "--yes").strip() == "deleted study digits"
    assert not (tuner.home / "checkpoints" / "digits").exists()
    assert "there is no study 'digits'" in tuner("status", "digits", code=1)


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["search", "digits", "--name", "first"], 1, ["'first'", "tuner resume first"]),
        (["search", "nowhere"], 2, ["'nowhere'", "digits"]),
        (["search", "digits", "--name", "Bad Name!"], 2, ["Bad Name!"]),
        (["search", "digits", "--space", "nowhere.toml"], 2, ["nowhere.toml", "cifar10-small"]),
        (["search", "digits", "--trials", "0"], 2, ["--trials", "0", "--help"]),
        (["search", "digits", "--trials", "many"], 2, ["--trials", "many"]),
        (["search", "digits", "--time-budget", "soon"], 2, ["soon", "30m"]),
        (["search", "digits", "--redis", "redis://127.0.0.1:1"], 1, ["127.0.0.1:1", "does not answer"]),
        (["search", "digits", "--gpus", "2"], 1, ["no GPU", "2 asked for", "--gpus 0"]),
        (["search", "cifar10", "--gpus", "0", "--data-dir", "empty"], 1, ["cifar10", "train", "digits"]),
        (["search"], 2, ["dataset", "--help"]),
        (["serch"], 2, ["serch"]),
        (["status", "nothing"], 1, ["'nothing'", "first"]),
        (["delete", "--yes"], 2, ["NAME"]),
        (["resume", "nothing"], 1, ["'nothing'"]),
        (["export-best", "nothing"], 1, ["'nothing'"]),
        (["spaces", "check", "nowhere.toml"], 2, ["nowhere.toml"]),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(tuner, first, arguments, code, parts):
    line = tuner(*arguments, code=code)
    assert line.startswith("error: ")
    assert [part for part in parts if part not in line] == []


def test_without_a_command_the_help_is_shown(tuner):
    assert "export-best" in tuner()
    assert "check" in tuner("spaces")


def test_nothing_is_deleted_when_nobody_answers(tuner, first):
    assert "--yes" in tuner("delete", "first", code=2)
    assert tuner("status", "first")


def test_spaces_are_listed_shown_and_checked(tuner):
    assert {line.split(":")[0] for line in tuner("spaces", "list").splitlines()} >= {"digits", "cifar10", "folder"}
    assert "lr: float from" in tuner("spaces", "show", "digits")
    assert json.loads(tuner("spaces", "show", "digits", "--json"))["dimensions"]["lr"]["log"] is True
    assert "is a valid search space" in tuner("spaces", "check", "cifar10")


def test_a_dry_run_tells_the_rungs_and_the_time_and_leaves_nothing_behind(tuner):
    printed = tuner("search", "digits", "--gpus", "0", "--trials", "16", "--max-epochs", "8", "--dry-run")
    assert "one epoch of the median configuration takes" in printed
    assert "\n1 to 2     16 of 16\n" in printed
    assert "(without early stopping 128)" in printed
    assert not list((tuner.home / "checkpoints").glob("dry-run-*"))


def test_a_profiled_search_leaves_a_trace_where_it_said(tuner):
    printed = tuner(
        "search", "digits", "--gpus", "0", "--trials", "1", "--max-epochs", "2", "--profile", "--name", "prof"
    )
    file = tuner.home / "checkpoints" / "prof" / "trace.json.gz"
    assert f"a trial's second epoch is traced to {file}" in printed
    assert b"aten::conv2d" in gzip.decompress(file.read_bytes())
