"""What a search is for, from the command line to the spec and to what people read."""

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.factories import new_space, new_spec, new_trial
from tests.test_request import spec_of
from tuner.cli import app, searching
from tuner.errors import StoreError, UsageError
from tuner.preparing import _about_balance
from tuner.progress import SearchView
from tuner.request import SearchRequest, overridden
from tuner.spec import Resources, StudySpec
from tuner.training.dataspec import DataInfo
from tuner.training.objectives import OBJECTIVES, known_scores

INFO = DataInfo(
    "leaves", ("blight", "healthy"), 8, 8, 3, 90, 10, True, "0" * 64, "none", train_counts=(10, 80)
)  # fmt: skip


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_direction_of_a_study_follows_from_its_objective(name):
    spec = spec_of(new_space(), objective=name)
    assert (spec.metric, spec.direction) == (name, "minimize" if name == "val_loss" else "maximize")
    assert StudySpec.from_json(spec.to_json()) == spec


def test_an_unknown_objective_is_refused_before_anything_is_read():
    request = SearchRequest("digits", Resources(gpus=0), Path("/s"), Path("/d"), objective="f1")
    with pytest.raises(UsageError, match="objective = 'f1' is not known: it must be one of val_accuracy, "):
        overridden(request, new_space())


@pytest.mark.parametrize("wrong", [{"metric": "f1"}, {"direction": "minimize"}])
def test_a_stored_spec_with_another_score_or_the_wrong_direction_is_not_one_of_this_program(wrong):
    content = {**json.loads(new_spec().to_json()), **wrong}
    with pytest.raises(
        StoreError, match=r"not one of this program: UsageError: (objective|direction) = '(f1|minimize)'"
    ):
        StudySpec.from_json(json.dumps(content))


def test_it_travels_to_a_cluster(monkeypatch):
    sent = {}
    monkeypatch.setattr(searching, "submit_search", lambda request, options, **_: sent.update(options))
    line = ["search", "digits", "--objective", "val_loss", "--address", "http://head:8265"]
    assert CliRunner().invoke(app, line).exit_code == 0
    assert sent["--objective"] == "val_loss"


def test_scores_that_an_older_record_lacks_are_left_out():
    assert known_scores({"val_loss": 0.5, "train_loss": 1.0, "val_accuracy": None}) == {"val_loss": 0.5}


def test_the_table_and_its_last_line_say_which_score_it_is_unless_it_is_the_usual_one():
    kept = {"path": "/s/best", "sha256": "a" * 64, "epoch": 1, "score": 0.25}
    trials = [new_trial(0, values=[(1, 0.25)], best_checkpoint=kept)]
    named = SearchView(new_spec(metric="val_loss"), trials, 8, lambda: 0.0)
    usual = SearchView(new_spec(), trials, 8, lambda: 0.0)
    assert (named.table()[0][3], usual.table()[0][3]) == ("val_loss", "score")
    assert "best val_loss 0.2500 (trial 0, epoch 1)" in named.summary()
    assert "best 0.2500 (trial 0, epoch 1)" in usual.summary()


@pytest.mark.parametrize(
    ("changes", "ends"),
    [
        ({}, "class_weight=balanced in training"),
        ({"space": new_space(constants={"class_weight": "balanced"})}, "count the same in the score"),
        ({"space": new_space(constants={"class_weight": "none"})}, "class_weight=balanced in training"),
        ({"metric": "val_macro_f1"}, None),
        ({"metric": "val_loss"}, None),
    ],
)
def test_unbalanced_classes_are_told_where_accuracy_is_the_score_with_what_is_still_to_do(changes, ends):
    told = _about_balance(new_spec(**changes), INFO)
    if ends is None:
        assert told == []
    else:
        assert told[0].startswith(
            "note: unbalanced classes: 'healthy' has 80 training pictures, 'blight' 10 (8.0 times"
        )
        assert told[0].endswith(ends)
    assert _about_balance(new_spec(**changes), dataclasses.replace(INFO, train_counts=(50, 40))) == []
