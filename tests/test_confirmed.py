"""What fresh runs say of configurations: who is to be run again, and who wins."""

from __future__ import annotations

import pytest

from tests.factories import new_ref, new_spec, new_trial
from tuner.confirmed import Confirmation, Confirmed, best_configurations, ranking, runs_for
from tuner.errors import UsageError
from tuner.study import Study


def searched(number, score, width=None, **changes):
    params = {"lr": 0.1, "width": 16 + number if width is None else width, "norm": "batch"}
    kept = None if score is None else new_ref(score=score)
    return new_trial(number, **{"state": "complete", "params": params, "best_checkpoint": kept, **changes})


def run(number, of, score=None, state="complete", **changes):
    values = {"confirms": of.number, "params": of.params, "max_epochs": 9, "state": state}
    return new_trial(
        number, **{**values, "best_checkpoint": None if score is None else new_ref(score=score), **changes}
    )


def ranked(*trials, count=None, **changes):
    return ranking(Study(new_spec(**changes), trials, 8, None), None if count is None else Confirmation(count))


def test_each_configuration_is_there_once_by_its_best_trial_and_confirmations_are_no_candidates():
    first, second, again = searched(0, 0.8), searched(1, 0.9), searched(2, 0.85, width=16, continues=0)
    without, confirming = searched(3, None), run(4, second, 1.0)
    chosen = best_configurations([first, second, again, without, confirming], "maximize")
    assert [trial.number for trial in chosen] == [1, 2]
    assert [trial.number for trial in best_configurations([first, second, again], "minimize")] == [0, 1]


def test_a_configuration_has_the_place_of_its_best_trial_however_low_its_others_are():
    low, between, high = searched(0, 0.8), searched(1, 0.85), searched(2, 0.95, width=16, continues=0)
    assert [one.number for one in best_configurations([low, between, high], "maximize")] == [2, 1]


def test_of_equal_scores_the_lower_number_comes_first():
    assert [one.number for one in best_configurations([searched(0, 0.9), searched(1, 0.9)], "maximize")] == [0, 1]


def test_what_is_over_or_in_flight_is_not_run_again_and_a_higher_number_of_seeds_adds_the_missing_ones():
    first, second = searched(0, 0.9), searched(1, 0.8)
    known = [run(2, first, 0.9), run(3, second, 0.8), run(4, first, state="queued")]
    runs = runs_for([first, second, *known], "maximize", 9, Confirmation(2, 3))
    assert [one.number for one in runs.known] == [2, 4, 3]
    assert [one.number for one in runs.unfinished] == [4]
    assert [origin.number for origin in runs.missing] == [1, 0, 1]
    # Who is content with less neither repeats what is over nor goes on with what is in flight.
    fewer = runs_for([first, second, *known], "maximize", 9, Confirmation(1, 1))
    assert ([one.number for one in fewer.known], fewer.missing) == ([2], ())


def test_a_run_that_diverged_is_a_result_and_one_that_had_no_memory_is_run_again():
    origin = searched(0, 0.9)
    diverged = run(1, origin, state="failed", reason={"kind": "diverged", "detail": "loss nan"})
    no_memory = run(2, origin, state="failed", reason={"kind": "out_of_memory", "detail": "9 GiB"})
    runs = runs_for([origin, diverged, no_memory], "maximize", 9, Confirmation(1, 2))
    assert ([one.number for one in runs.known], len(runs.missing)) == ([1], 1)


def test_runs_over_fewer_epochs_confirm_nothing_any_more():
    origin = searched(0, 0.9)
    assert len(runs_for([origin, run(1, origin, 0.9)], "maximize", 27, Confirmation(1, 1)).missing) == 1


def test_the_highest_mean_of_the_fresh_runs_wins_whatever_the_search_said():
    lucky, steady = searched(0, 0.99), searched(1, 0.9)
    found = ranked(lucky, steady, run(2, lucky, 0.7), run(3, steady, 0.88), run(4, lucky, 0.8), run(5, steady, 0.92))
    assert [one.origin.number for one in found] == [1, 0]
    assert found[0].as_dict() == {
        "trial": 1,
        "runs": [3, 5],
        "scores": [0.88, 0.92],
        "mean": pytest.approx(0.9),
        "standard_deviation": pytest.approx(0.0282843, rel=1e-5),
        "diverged": 0,
        "search_score": 0.9,
    }
    assert found[0].best_run("maximize").number == 5
    assert found[0].best_run("minimize").number == 3
    assert [one.origin.number for one in ranked(lucky, steady, run(2, lucky, 0.7), run(3, steady, 0.9), count=1)] == [0]


def test_a_configuration_that_diverged_with_a_seed_comes_behind_those_that_never_did():
    wild, calm = searched(0, 0.99), searched(1, 0.5)
    failed = run(4, wild, state="failed", reason={"kind": "diverged", "detail": "loss nan"})
    found = ranked(wild, calm, run(2, wild, 0.99), run(3, calm, 0.5), failed)
    assert [(one.origin.number, one.diverged) for one in found] == [(1, 0), (0, 1)]


def test_where_less_is_better_the_lowest_mean_wins():
    high, low = searched(0, 0.2), searched(1, 0.3)
    found = ranked(high, low, run(2, high, 0.4), run(3, low, 0.3), direction="minimize", metric="val_loss")
    assert [one.origin.number for one in found] == [1, 0]


def test_a_single_run_has_no_spread():
    origin = searched(0, 0.9)
    assert Confirmed(origin, (run(1, origin, 0.8),)).spread is None


def test_a_study_tells_its_confirmations_apart_from_its_trials():
    origin = searched(0, 0.9)
    study = Study(new_spec(trials=1), (origin, run(1, origin, 0.95), run(2, origin, state="queued")), 1, None)
    status = study.status()
    assert (study.state, study.finished, sum(study.counts.values())) == ("complete", 1, 1)
    assert study.best.trial == 0
    assert [(one["trial"], one["runs"]) for one in status["confirmed"]] == [(0, [1])]
    assert status["rungs"][0]["arrived"] == 0


@pytest.mark.parametrize("wrong", [{"configurations": 0}, {"seeds": 0}, {"configurations": 101}, {"seeds": 1000}])
def test_numbers_out_of_range_are_refused_in_one_line(wrong):
    with pytest.raises(UsageError, match=r"^(confirm|seeds) = \d+ is not allowed: it must be a whole number from 1 to"):
        Confirmation(**wrong)
