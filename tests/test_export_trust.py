"""Exports of a confirmed winner and of a refitted one: which weights, and what their files say of them."""

from __future__ import annotations

import contextlib
import dataclasses
import json

import pytest
import safetensors.torch
import torch

from tests.trained import train
from tuner.confirmed import Confirmation
from tuner.errors import ExportError
from tuner.export import export_best
from tuner.report.exported import read_metrics
from tuner.training import checkpoint
from tuner.training.checkpoint_ref import CheckpointRef
from tuner.training.dataspec import DataSpec

pytestmark = pytest.mark.usefixtures("one_thread")
DATA = DataSpec(dataset="digits", data_dir="/nowhere")
ONE = Confirmation(configurations=1, seeds=2)


@pytest.fixture(scope="module")
def study(cache, tmp_path_factory):
    """Trial 1 is complete; trials 2 and 3 confirm it with the weights of two other trainings, of which 2 is better."""
    searched = train(DATA, cache, tmp_path_factory.mktemp("storage"))
    runs = []
    for number, epochs in ((2, 3), (3, 1)):
        again = train(DATA, cache, tmp_path_factory.mktemp("storage"), epochs=epochs).trials[1]
        runs.append(dataclasses.replace(again, number=number, confirms=1, max_epochs=searched.spec.max_epochs))
    return dataclasses.replace(searched, trials=(*searched.trials, *runs))


def export(study, out, cache, **options):
    lines = []
    exported = export_best(study, out, cache=cache, say=lines.append, **options)
    files = [json.loads((out / name).read_text()) for name in ("metrics.json", "provenance.json")]
    return exported, *files, (out / "README.md").read_text(), lines


@contextlib.contextmanager
def unseen():
    yield lambda what, done, total: None


def weights_in(folder):
    return safetensors.torch.load_file(folder / "weights.safetensors")


def same(weights, ref):
    kept = checkpoint.read(CheckpointRef.from_dict(ref)).group("model")
    return all(torch.equal(weights[key], kept[key]) for key in kept)


def test_without_confirmation_the_winner_is_the_searchs_and_the_card_says_that_one_run_decided(study, cache, tmp_path):
    exported, metrics, provenance, card, lines = export(study, tmp_path / "best", cache)
    assert exported.trial == 1
    assert "confirmation" not in metrics
    assert "confirmation" not in provenance
    assert "chosen by its validation score, on one training run of each configuration" in card
    assert any(line.startswith("note: it was chosen on one run; --confirm exports the winner") for line in lines)


def test_the_best_run_of_the_confirmed_winner_is_exported_and_its_files_say_how_it_was_chosen(study, cache, tmp_path):
    exported, metrics, provenance, card, lines = export(study, tmp_path / "best", cache, confirmation=ONE)
    kept = study.trials[2].best_checkpoint
    assert (exported.trial, exported.epoch, exported.validation_score) == (2, kept["epoch"], kept["score"])
    assert same(weights_in(tmp_path / "best"), kept)
    assert lines[0].endswith(", which confirms trial 1")
    ranking = metrics["confirmation"]["ranking"]
    assert (metrics["confirmation"]["winner"], [one["runs"] for one in ranking]) == (1, [[2, 3]])
    assert ranking[0]["mean"] == pytest.approx(sum(ranking[0]["scores"]) / 2)
    assert provenance["confirmation"] == metrics["confirmation"]
    assert provenance["seeds"]["training"] == study.spec.training_seed(2)
    assert "on one training run" not in card
    assert f"| 1 | {ranking[0]['mean']:.4f} | {ranking[0]['standard_deviation']:.4f} |" in card
    assert "the one with the best validation score was taken, trial 2 after epoch" in card
    assert read_metrics(study, tmp_path / "best")["validation"]["trial"] == 2


def test_a_refit_has_other_weights_and_no_validation_score_and_says_so_everywhere(study, cache, tmp_path):
    exported, metrics, provenance, card, _ = export(study, tmp_path / "best", cache, refitting=unseen)
    kept = study.trials[1].best_checkpoint
    assert (exported.trial, exported.epoch, exported.validation_score) == (1, kept["epoch"], None)
    assert exported.test_accuracy > 0.6
    assert not same(weights_in(tmp_path / "best"), kept)
    assert metrics["validation"]["score"] is None
    assert metrics["validation"]["scores"] == {}
    assert metrics["refit"] == {
        "pictures": 1438,
        "epochs": kept["epoch"],
        "max_epochs": 2,
        "training_seed": study.spec.training_seed(1),
        "device": "CPU" if not torch.cuda.is_available() else torch.cuda.get_device_name(),
        "of_trial": 1,
        "score_of_that_run": kept["score"],
    }
    assert provenance["refit"] == metrics["refit"]
    assert "on the training and the validation pictures together (1438)" in card
    assert "there is no validation score for this model" in card
    assert "On the validation split" not in card
    older = dataclasses.replace(
        study, trials=(study.trials[0], dataclasses.replace(study.trials[1], best_checkpoint=None))
    )
    assert read_metrics(older, tmp_path / "best")["refit"]["of_trial"] == 1


def test_ctrl_c_while_it_is_refitted_leaves_nothing_behind(study, cache, tmp_path):
    @contextlib.contextmanager
    def interrupted():
        def tell(what, done, total):
            raise KeyboardInterrupt

        yield tell

    with pytest.raises(KeyboardInterrupt):
        export(study, tmp_path / "best", cache, refitting=interrupted)
    assert list(tmp_path.iterdir()) == []


def test_a_confirmation_without_any_run_that_ended_well_exports_nothing(study, cache, tmp_path):
    bare = dataclasses.replace(study, trials=study.trials[:2])
    with pytest.raises(ExportError, match="no trained weights to export"):
        export(bare, tmp_path / "best", cache, confirmation=ONE)


@pytest.fixture(scope="module")
def front(study):
    """The same for two objectives: trial 1 has the best score, trial 2, now of the search, is half as large."""
    spec = dataclasses.replace(study.spec, costs=("parameters",))
    large, small = study.trials[1], study.trials[2]
    low = min((large, small), key=lambda trial: trial.best_checkpoint["score"])
    sizes = {large.number: 20_000, small.number: 20_000, low.number: 10_000}
    trials = [
        dataclasses.replace(trial, confirms=None, costs={"parameters": sizes[trial.number]}) for trial in (large, small)
    ]
    return dataclasses.replace(study, spec=spec, trials=(study.trials[0], *trials)), low.number


def test_of_a_front_the_best_score_is_exported_unless_another_one_is_preferred(front, cache, tmp_path):
    study, low = front
    exported, metrics, provenance, card, lines = export(study, tmp_path / "best", cache)
    assert exported.trial != low
    assert "note: it has the best val_accuracy of 2 on the front; --prefer picks another" in lines
    assert (metrics["front"]["prefer"], metrics["front"]["costs"]) == ([], {"parameters": 20_000})
    assert [one["trial"] for one in metrics["front"]["trials"]] == [exported.trial, low]
    exported, metrics, provenance, card, lines = export(study, tmp_path / "small", cache, prefer=["parameters<=15000"])
    assert exported.trial == low
    assert metrics["front"]["costs"] == {"parameters": 10_000}
    assert provenance["front"] == metrics["front"]
    assert "found 2 networks that no other one beats in all of them; this is one of them, chosen for" in card
    assert "`parameters<=15000`. In the search it had parameters 10,000." in card
    assert not [line for line in lines if line.startswith("note: it has the best")]
    with pytest.raises(ExportError, match="--prefer parameters<=1: no such trial on the front of study numbers"):
        export(study, tmp_path / "none", cache, prefer=["parameters<=1"])
    assert not (tmp_path / "none").exists()
