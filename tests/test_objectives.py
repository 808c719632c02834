"""What a search is for, from the command line to the spec and to what people read."""

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.factories import new_ref, new_space, new_spec, new_trial
from tests.test_request import spec_of
from tuner.cli import app, searching
from tuner.cli.concluding import conclude
from tuner.errors import StoreError, UsageError
from tuner.preparing import _about_balance
from tuner.progress import SearchView
from tuner.request import SearchRequest, overridden
from tuner.spec import Resources, StudySpec
from tuner.study import Study
from tuner.training.dataspec import DataInfo
from tuner.training.objectives import OBJECTIVES, known_scores

INFO = DataInfo(
    "leaves", ("blight", "healthy"), 8, 8, 3, 90, 10, True, "0" * 64, "none", train_counts=(10, 80)
)  # fmt: skip


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_direction_of_a_study_follows_from_its_objective(name):
    spec = spec_of(new_space(), objectives=(name,))
    assert (spec.metric, spec.direction) == (name, "minimize" if name == "val_loss" else "maximize")
    assert StudySpec.from_json(spec.to_json()) == spec


def test_an_unknown_objective_is_refused_before_anything_is_read():
    request = SearchRequest("digits", Resources(gpus=0), Path("/s"), Path("/d"), objectives=("f1",))
    with pytest.raises(UsageError, match="objective = 'f1' is not known: it must be one of val_accuracy, "):
        overridden(request, new_space())


def test_a_score_and_what_the_network_costs_may_be_asked_for_together():
    spec = spec_of(new_space(), objectives=("latency_ms", "val_loss", "parameters"))
    assert (spec.objectives, spec.directions) == (("val_loss", "latency_ms", "parameters"), ("minimize",) * 3)
    assert StudySpec.from_json(spec.to_json()) == spec
    assert spec.standing(0.5, {"parameters": 7, "latency_ms": 2.0}) == (-0.5, -2.0, -7)
    content = json.loads(new_spec().to_json())
    del content["costs"]  # from before there were such
    assert StudySpec.from_json(json.dumps(content)) == new_spec()


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (("latency_ms",), "objective = latency_ms is not allowed: give exactly one of val_accuracy, "),
        (("val_loss", "val_accuracy"), "objective = val_loss, val_accuracy is not allowed: give exactly one of"),
        (("val_loss", "parameters", "parameters"), "objective = val_loss, parameters, parameters is not allowed"),
        (("val_loss", "size"), "objective = 'size' is not known: it must be one of val_accuracy, "),
    ],
)
def test_objectives_that_make_no_search_are_refused_in_one_line(redis_url, names, what):
    asked = [word for name in names for word in ("--objective", name)]
    result = CliRunner().invoke(app, ["search", "digits", "--redis", redis_url, "--gpus", "0", *asked])
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith(what)


def test_with_several_objectives_what_knows_only_one_is_refused():
    with pytest.raises(UsageError, match="sampler = 'mfgp' knows one objective: with several it must be tpe or random"):
        new_spec(costs=("parameters",), sampler="mfgp")
    both = SearchRequest(
        "digits", Resources(gpus=0), Path("/s"), Path("/d"), objectives=("val_loss", "parameters"), warm_start="earlier"
    )
    with pytest.raises(UsageError, match="--warm-start earlier is for searches with one objective, and this one is"):
        overridden(both, new_space())


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
    assert sent["--objective"] == ("val_loss",)
    assert CliRunner().invoke(app, [*line, "--objective", "parameters"]).exit_code == 0
    assert sent["--objective"] == ("val_loss", "parameters")


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


def front_study(**changes):
    def trial(number, score, latency_ms, **more):
        return new_trial(
            number,
            state="complete",
            values=[(1, score)],
            best_checkpoint=new_ref(score=score),
            costs={"latency_ms": latency_ms, "parameters": 1000 * number},
            **more,
        )

    stopped = {"kind": "asha", "rung": 1, "rank": 4, "peers": 5, "cutoff": None, "layer": 3}
    trials = (trial(0, 0.8, 2.0), trial(1, 0.9, 4.5), new_trial(2, state="pruned", values=[(1, 0.1)], reason=stopped))
    return Study(new_spec(costs=("latency_ms", "parameters")), trials, 3, None, **changes)


def test_the_front_is_told_while_it_is_searched_and_when_it_is_done(capsys):
    study = front_study()
    view = SearchView(study.spec, study.trials, 3, lambda: 60.0)
    assert "best 0.9000 (trial 1, epoch 1), 2 on the front" in view.summary()
    headings, rows = view.table()
    assert headings[3:6] == ["score", "latency_ms", "parameters"]
    assert [row[3:6] for row in rows] == [["0.1000", "", ""], ["0.9000", "4.5", "1000"], ["0.8000", "2", "0"]]
    assert rows[0][-1] == "rank 4 of 6 at epoch 1, layer 3"
    conclude(study, why="", signal=None)
    assert capsys.readouterr().out.splitlines() == [
        "best: trial 1, val_accuracy 0.9000 at epoch 1",
        "front of val_accuracy, latency_ms, parameters: 2 trials, none beaten in all of them",
        "  trial 1: val_accuracy 0.9000, latency_ms 4.5, parameters 1,000",
        "  trial 0: val_accuracy 0.8000, latency_ms 2, parameters 0",
        "study test: 2 complete, 1 pruned",
        "export the best model with `tuner export-best test`",
        "another one of the front with --prefer OBJECTIVE, 'OBJECTIVE<=LIMIT' or TRIAL",
    ]
    status = study.status()
    assert status["objectives"] == ["val_accuracy", "latency_ms", "parameters"]
    assert (
        status["front"][0]
        == status["best"]
        == {
            "trial": 1,
            "epoch": 1,
            "value": 0.9,
            "params": study.trials[1].params,
            "costs": {"latency_ms": 4.5, "parameters": 1000},
        }
    )
