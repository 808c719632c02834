"""The multi-fidelity sampler: what it learns from, what it suggests, and that it always answers."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from tuner.search.mfgp.observed import normal_scores, observe, thinned
from tuner.search.mfgp.sampler import MultiFidelityGPSampler

SPACE = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "width": IntDistribution(16, 64, step=16),
    "norm": CategoricalDistribution(["batch", "none"]),
}
LEVELS = (1, 3, 9)


def final(params):
    """Best at lr 0.03, width 48, with batch norm: 0."""
    return -abs(math.log10(params["lr"] / 0.03)) - abs(params["width"] - 48) / 32 - (params["norm"] == "none")


def new_trial(params, scores, state=TrialState.PRUNED, space=SPACE):
    complete = state == TrialState.COMPLETE
    return create_trial(
        state=state,
        params=params,
        distributions={name: space[name] for name in params},
        intermediate_values=scores,
        value=scores[max(scores)] if complete else None,
    )


def new_study(trials, direction="maximize"):
    study = optuna.create_study(direction=direction)
    for trial in trials:
        study.add_trial(trial)
    return study


def suggest(study, number=None, space=SPACE, **options):
    running = create_trial(state=TrialState.RUNNING, params={}, distributions={})
    running.number = len(study.trials) if number is None else number
    return MultiFidelityGPSampler(LEVELS, **options).sample_relative(study, running, space)


def random_trials(count, seed=0):
    """Each reports epoch 1; the better ones go on. The first score tells of the last one."""
    draw, trials = np.random.default_rng(seed), []
    for _ in range(count):
        params = {
            "lr": float(10 ** draw.uniform(-4, 0)),
            "width": int(draw.choice([16, 32, 48, 64])),
            "norm": str(draw.choice(["batch", "none"])),
        }
        value = final(params)
        last = 9 if value > -1.0 else 3 if value > -1.5 else 1
        scores = {epoch: value - 1 / epoch for epoch in LEVELS if epoch <= last}
        trials.append(new_trial(params, scores, TrialState.COMPLETE if last == 9 else TrialState.PRUNED))
    return trials


def test_it_finds_a_better_configuration_than_as_many_random_ones():
    def best_after(trials, sampled):
        study = new_study(random_trials(12, seed=trials))
        for _ in range(20):
            params = suggest(study) if sampled else random_trials(1, seed=1000 * trials + len(study.trials))[0].params
            study.add_trial(
                new_trial(params, {epoch: final(params) - 1 / epoch for epoch in LEVELS}, TrialState.COMPLETE)
            )
        return max(final(trial.params) for trial in study.trials)

    sampled, random = ([best_after(seed, sampled) for seed in range(4)] for sampled in (True, False))
    assert np.mean(sampled) > -0.1
    assert np.mean(sampled) > np.mean(random) + 0.1


def test_it_learns_from_trials_of_which_none_was_trained_to_the_end():
    trials = [new_trial(trial.params, {1: final(trial.params)}) for trial in random_trials(40)]
    study = new_study(trials)
    suggested = [suggest(study, number) for number in range(40, 50)]
    assert np.mean([final(params) for params in suggested]) > np.mean([final(trial.params) for trial in trials]) + 0.5
    assert {params["norm"] for params in suggested} == {"batch"}


def test_lower_is_better_where_the_study_says_so():
    trials = random_trials(20)
    negated = [
        new_trial(trial.params, {epoch: -score for epoch, score in trial.intermediate_values.items()}, trial.state)
        for trial in trials
    ]
    assert suggest(new_study(negated, "minimize")) == suggest(new_study(trials))


def test_the_same_trials_number_and_seed_give_the_same_suggestion_and_others_do_not():
    first, again = new_study(random_trials(20)), new_study(random_trials(20))
    suggested = suggest(first, seed=3)
    assert suggest(again, seed=3) == suggested
    assert suggest(again, seed=4) != suggested
    assert suggest(again, number=21, seed=3) != suggested


def test_what_runs_already_is_expected_to_score_and_something_else_is_tried():
    trials = random_trials(10)
    study = new_study(trials)
    for _ in range(6):
        study.add_trial(new_trial(suggest(study), {}, TrialState.RUNNING))
    at_once = [math.log10(trial.params["lr"]) for trial in study.trials[10:]]
    apart = [math.log10(suggest(new_study(trials), number)["lr"]) for number in range(10, 16)]
    assert np.std(at_once) > 3 * np.std(apart)


def test_values_that_are_given_stay_as_they_are():
    study = new_study(random_trials(20))
    for number in range(20, 26):
        params = suggest(study, number, given={"width": 16, "norm": "none"})
        assert (params["width"], params["norm"]) == (16, "none")


def test_a_conditional_dimension_is_suggested_where_it_exists_and_nowhere_else():
    space = {"optimizer": CategoricalDistribution(["sgd", "adam"]), "momentum": FloatDistribution(0.0, 0.9)}
    draw, trials = np.random.default_rng(0), []
    for _ in range(20):
        params = (
            {"optimizer": "sgd", "momentum": float(draw.uniform(0, 0.9))}
            if draw.random() < 0.5
            else {"optimizer": "adam"}
        )
        score = params.get("momentum", 0.4)
        trials.append(new_trial(params, {1: score, 9: score}, TrialState.COMPLETE, space))
    study = new_study(trials)
    only_if = {"momentum": {"optimizer": ["sgd"]}}
    suggested = [suggest(study, number, space, only_if=only_if) for number in range(3, 30)]
    suggested += [suggest(new_study([]), number, space, only_if=only_if) for number in range(20)]
    assert {params["optimizer"] for params in suggested} == {"sgd", "adam"}
    assert all(("momentum" in params) == (params["optimizer"] == "sgd") for params in suggested)
    assert suggested[0]["optimizer"] == "sgd"
    assert suggested[0]["momentum"] > 0.7


@pytest.mark.parametrize(
    "scores",
    [
        pytest.param(lambda number: {1: 0.5}, id="all equal"),
        pytest.param(lambda number: {1: 0.5, 3: 0.5, 9: 0.5}, id="flat curves"),
        pytest.param(lambda number: {1: float(number % 2) * 1e300}, id="huge"),
        pytest.param(lambda number: {2: 0.1 * number}, id="at no level"),
        pytest.param(lambda number: {}, id="no scores"),
    ],
)
@pytest.mark.parametrize("same", [True, False])
def test_it_answers_whatever_the_scores_are(scores, same):
    trials = [
        new_trial({"lr": 0.1 if same else 10 ** (-4 + number / 5), "width": 16, "norm": "none"}, scores(number))
        for number in range(20)
    ]
    params = suggest(new_study(trials))
    assert 1e-4 <= params["lr"] <= 1.0
    assert params["width"] in (16, 32, 48, 64)
    assert params["norm"] in ("batch", "none")


def test_a_failed_configuration_is_not_tried_again():
    trials = random_trials(20)
    best = max(trials, key=lambda trial: final(trial.params)).params
    before = suggest(new_study(trials))
    near = abs(math.log10(before["lr"] / best["lr"]))
    failed = [new_trial({**best, "lr": best["lr"] * 10**shift}, {}, TrialState.FAIL) for shift in np.linspace(-1, 1, 9)]
    params = suggest(new_study([*trials, *failed]), 20)
    assert abs(math.log10(params["lr"] / best["lr"])) > near


def test_it_works_as_a_sampler_of_optuna_itself():
    sampler = MultiFidelityGPSampler(LEVELS, seed=1)
    study = optuna.create_study(direction="maximize", sampler=sampler)

    def objective(trial):
        params = {
            "lr": trial.suggest_float("lr", 1e-4, 1.0, log=True),
            "width": trial.suggest_int("width", 16, 64, step=16),
            "norm": trial.suggest_categorical("norm", ["batch", "none"]),
        }
        for epoch in LEVELS:
            trial.report(final(params) - 1 / epoch, epoch)
        return final(params)

    study.optimize(objective, n_trials=25)
    assert study.best_value > -0.5


def test_what_is_observed_of_trials_in_each_state():
    params = {"lr": 0.1, "width": 16, "norm": "none"}
    trials = [
        new_trial(params, {1: 0.1, 2: 0.2}, TrialState.RUNNING),
        new_trial(params, {1: 0.3, 3: 0.4}),
        new_trial(params, {1: 0.5, 5: 0.6}, TrialState.COMPLETE),  # it ended on a plateau
        new_trial(params, {}, TrialState.FAIL),
    ]
    seen = observe(trials, LEVELS, 1.0)
    found = list(
        zip(seen.rows.tolist(), np.round(9**seen.shares).astype(int).tolist(), seen.scores.tolist(), strict=True)
    )
    assert found == [(0, 1, 0.1), (1, 1, 0.3), (1, 3, 0.4), (2, 1, 0.5), (2, 9, 0.6), (3, 9, 0.1)]
    assert seen.unfinished.tolist() == [0]


def test_normal_scores_look_at_ranks_only_and_equal_scores_share_theirs():
    scores = normal_scores(np.array([3.0, 1e9, 3.0, -7.0]))
    assert scores[0] == scores[2]
    assert scores[3] < scores[0] < scores[1]
    assert normal_scores(np.array([0.3, 5.0, 0.3, 0.1])).tolist() == scores.tolist()


def test_what_is_left_out_of_too_many_observations_is_neither_the_best_nor_all_of_one_time():
    trials = random_trials(200)
    seen = observe(trials, LEVELS, 1.0)
    kept = thinned(seen, 60)
    assert len(kept) == len(set(kept.tolist())) == 60
    assert int(np.argmax(np.where(seen.shares == 1.0, seen.scores, -np.inf))) in kept
    assert np.histogram(seen.rows[kept], bins=4, range=(0, 200))[0].min() >= 5
