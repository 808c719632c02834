"""The front of several objectives, and what of it is asked for."""

from __future__ import annotations

import pytest

from tests.factories import new_ref, new_spec, new_trial
from tuner.best import front_of, preferred
from tuner.confirmed import Confirmation
from tuner.errors import ExportError, UsageError
from tuner.study import Study

SPEC = new_spec(costs=("latency_ms", "parameters"))


def trial(number, score, latency_ms, parameters, **changes):
    costs = {"latency_ms": latency_ms, "parameters": parameters}
    given = {"state": "complete", "costs": costs, "params": {"lr": 0.1, "width": 16 * number}, **changes}
    return new_trial(number, best_checkpoint=new_ref(score=score), **given)


TRIALS = (
    trial(0, 0.90, 3.0, 9000),
    trial(1, 0.95, 5.0, 20000),
    trial(2, 0.95, 4.0, 20000),  # better than 1
    trial(3, 0.80, 1.0, 30000),
    trial(4, 0.70, 2.0, 500),
    trial(5, 0.99, 0.1, 1, confirms=2),
    new_trial(6, costs={"latency_ms": 0.1, "parameters": 1}),  # no weights
)
STUDY = Study(SPEC, TRIALS, 8, None)


def numbers(found):
    return [best.trial for best in found]


def test_the_front_has_the_trials_that_no_other_beats_in_all_objectives_the_best_score_first():
    assert numbers(STUDY.front) == [2, 0, 3, 4]
    assert STUDY.best == STUDY.front[0]
    assert STUDY.front[0].costs == {"latency_ms": 4.0, "parameters": 20000}
    assert front_of(TRIALS, new_spec()) == []


def test_less_is_better_where_the_score_is_a_loss():
    assert numbers(front_of(TRIALS, new_spec(metric="val_loss", costs=("latency_ms",)))) == [4, 3]


@pytest.mark.parametrize(
    ("prefer", "expected"),
    [
        ([], [2, 0, 3, 4]),
        (["parameters"], [4, 0, 2, 3]),
        (["latency_ms"], [3, 4, 0, 2]),
        (["val_accuracy"], [2, 0, 3, 4]),
        (["3"], [3]),
        (["latency_ms<=3"], [0, 3, 4]),
        (["latency_ms <= 3", "val_accuracy>=0.75"], [0, 3]),
        (["val_accuracy>=0.75", "latency_ms"], [3, 0, 2]),
    ],
)
def test_a_part_of_it_is_picked_by_objective_limit_or_number(prefer, expected):
    assert numbers(preferred(STUDY, prefer)) == expected


@pytest.mark.parametrize(
    ("prefer", "message"),
    [
        (["val_loss"], "--prefer val_loss is not understood: give one of the study's objectives, val_accuracy, lat"),
        (["speed<=2"], "--prefer speed<=2 is not understood"),
        (["latency_ms<=fast"], "--prefer latency_ms<=fast: 'fast' is not a number"),
        (["parameters", "3"], "--prefer parameters and 3: give one objective or trial, the others as limits"),
    ],
)
def test_what_is_none_of_these_is_refused(prefer, message):
    with pytest.raises(UsageError) as caught:
        preferred(STUDY, prefer)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("prefer", [["1"], ["77"], ["latency_ms<=0.5"]])
def test_a_trial_that_is_not_on_the_front_is_no_choice(prefer):
    with pytest.raises(ExportError, match=f"--prefer {prefer[0]}: no such trial on the front of study test; `tuner st"):
        preferred(STUDY, prefer)


def test_a_study_with_one_objective_has_nothing_to_prefer():
    study = Study(new_spec(), TRIALS, 8, None)
    with pytest.raises(UsageError, match="study test has one, val_accuracy"):
        preferred(study, ["3"])
    assert Confirmation().for_front(study) == Confirmation()


def test_what_is_confirmed_is_the_first_part_of_what_is_preferred_each_configuration_once():
    wanted = Confirmation(2, 1, prefer=("parameters",)).for_front(STUDY)
    assert [one.number for one in wanted.chosen(TRIALS, "maximize")] == [4, 0]
    twin = trial(7, 0.6, 0.5, 400, params=TRIALS[4].params)
    study = Study(SPEC, (*TRIALS, twin), 8, None)
    again = Confirmation(3, 1, prefer=("parameters",)).for_front(study)
    assert [one.number for one in again.chosen(study.trials, "maximize")] == [7, 0, 2]
    assert wanted.command("x") == "tuner export-best x --confirm 2 --seeds 1 --prefer parameters"
    assert Confirmation(1, 1, prefer=("a<=2",)).command("x").endswith("--prefer 'a<=2'")
