"""The simulator of benchmarks/search_quality: repeatable bit by bit, and honest about time and what is handed over."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import numpy as np
import pytest

from tests.factories import new_space
from tests.imports import BENCHMARKS, importing_from

MAX_EPOCHS = 9


@pytest.fixture(scope="module")
def bench():
    """The modules of the benchmark, which are no package."""
    with importing_from(BENCHMARKS / "search_quality"):
        import bench as report
        import curves
        import engines
        import methods
        import ready
        import simulate
        import wait
    return SimpleNamespace(
        report=report, curves=curves, engines=engines, methods=methods, ready=ready, simulate=simulate, wait=wait
    )


class ToyWorld:
    """Scores rise to how near lr is to 0.03, with noise; an epoch takes width / 16 seconds."""

    def train(self, params, seed):
        final = 1 - abs(np.log10(params["lr"] / 0.03)) / 2
        noise = 0.01 * np.random.default_rng(seed).standard_normal(MAX_EPOCHS)
        return final * (1 - 0.5 / np.arange(1, MAX_EPOCHS + 1)) + noise, params["width"] / 16

    def regret(self, params):
        return 100 * abs(np.log10(params["lr"] / 0.03))


def search(bench, sampler, workers, seed=0, grace=1, budget_s=120.0, asha="stop", executor=None):
    spec = bench.engines.new_spec(
        new_space(),
        sampler=sampler,
        max_epochs=MAX_EPOCHS,
        grace_period=grace,
        reduction_factor=3,
        seed=seed,
        asha=asha,
    )
    engine = bench.engines.TunerEngine(spec, executor)
    return bench.simulate.simulate(
        engine, ToyWorld(), workers=workers, seed=seed, budget_s=budget_s, max_epochs=MAX_EPOCHS
    )


@pytest.mark.parametrize(("sampler", "workers"), [("mfgp", 1), ("mfgp", 8), ("tpe", 8), ("random", 32)])
def test_the_same_seed_space_and_worker_count_give_the_same_search_bit_by_bit(bench, sampler, workers):
    budget_s = 120.0 / workers + 10
    first = search(bench, sampler, workers, budget_s=budget_s)
    assert search(bench, sampler, workers, budget_s=budget_s) == first
    assert search(bench, sampler, workers, seed=1, budget_s=budget_s) != first


@pytest.mark.parametrize("sampler", ["mfgp", "tpe"])
def test_with_suggestions_made_ahead_too_and_it_is_another_search(bench, sampler):
    ahead = [search(bench, sampler, 8, budget_s=25.0, executor=bench.engines.AtOnce()) for _ in range(2)]
    assert ahead[0] == ahead[1] != search(bench, sampler, 8, budget_s=25.0)


def test_workers_train_side_by_side_without_a_pause(bench):
    alone, eight = (search(bench, "random", workers, grace=MAX_EPOCHS) for workers in (1, 8))
    assert alone.log == sorted(alone.log)
    assert eight.epochs == pytest.approx(8 * alone.epochs, rel=0.3)
    # Nothing is stopped: all but those that the budget's end cut off report all of their epochs.
    reported = [sum(entry[1] == number for entry in eight.log) for number in range(eight.trials)]
    assert sum(count < MAX_EPOCHS for count in reported) == 8


def test_early_stopping_begins_more_trials_in_the_same_time(bench):
    assert search(bench, "random", 8).trials > 1.5 * search(bench, "random", 8, grace=MAX_EPOCHS).trials


def test_a_paused_trial_trains_each_of_its_epochs_once_and_is_handed_over_if_it_is_the_best(bench):
    result = search(bench, "random", 4, asha="promote")
    trained = [(number, epoch) for _, number, epoch, _ in result.log]
    assert len(set(trained)) == len(trained) == result.epochs
    epochs = [[epoch for other, epoch in trained if other == number] for number in range(result.trials)]
    assert all(passed == list(range(1, len(passed) + 1)) for passed in epochs)
    assert {len(passed) for passed in epochs} >= {1, 3, MAX_EPOCHS}
    # At the first rung there are no peers yet: who is handed over then waits there.
    first_rung = [entry for entry in result.log if entry[2] == 1]
    assert result.steps[0].seconds == first_rung[0][0]


def test_regret_is_that_of_the_best_trial_that_was_not_stopped(bench):
    result = search(bench, "random", 4)
    assert result.regret_at(0.0) == 100.0
    assert result.regret_at(120.0) == result.steps[-1].regret < 100.0
    assert [step.seconds for step in result.steps] == sorted(step.seconds for step in result.steps)


def test_ray_tunes_own_search_runs_in_it_too(bench):
    def run():
        engine = bench.engines.StockEngine(new_space().distributions(), max_epochs=MAX_EPOCHS, seed=0)
        return bench.simulate.simulate(engine, ToyWorld(), workers=4, seed=0, budget_s=60.0, max_epochs=MAX_EPOCHS)

    first = run()
    assert first.trials > 20
    assert run() == first


def test_recorded_curves_give_the_same_training_for_the_same_seed_and_like_ones_for_others(bench):
    world = bench.curves.load_curves("digits")
    params = {"depth": 3, "width": 32, "dropout": 0.1, "l2": 1e-3, "lr": 0.2, "augment": 0.1}
    scores, seconds = world.train(params, 0)
    again, _ = world.train(params, 0)
    others = np.stack([world.train(params, seed)[0] for seed in range(20)])
    assert scores.tolist() == again.tolist()
    assert len(scores) == 10
    assert 0 < others[:, -1].std() < 0.02
    assert 0.01 < seconds < 1.0
    assert world.regret(params) < world.regret({**params, "lr": 0.02})


def test_the_best_of_the_recorded_configurations_has_next_to_no_regret_and_the_median_about_100(bench):
    world = bench.curves.load_curves("digits")
    regrets = [world.regret(params) for params in bench.curves.load_table(world.task).params]
    assert -20 < min(regrets) < 20
    assert 80 < np.median(regrets) < 120


def test_the_table_of_the_page_is_that_of_the_recorded_results(bench):
    runs = json.loads((BENCHMARKS / "results" / "search_quality.json").read_text())["runs"]
    page = (BENCHMARKS.parent / "docs" / "search-quality.md").read_text()
    assert bench.report.fill(page, runs) == page


def test_where_some_configurations_do_not_learn_at_all_the_curves_tell_them_from_the_others(bench):
    world = bench.curves.load_curves("wide")
    table = bench.curves.load_table(world.task)
    final = 1 / (1 + np.exp(-table.logits[:, -1]))
    # Every fifth of each kind: the forest takes milliseconds for one.
    dead = [table.params[row] for row in np.flatnonzero(final < 0.2)[::5]]
    good = [table.params[row] for row in np.flatnonzero(final > 0.95)[::5]]
    assert min(len(dead), len(good)) >= 10
    dead_regrets, good_regrets = ([world.regret(params) for params in some] for some in (dead, good))
    assert np.quantile(dead_regrets, 0.1) > 100 > np.quantile(good_regrets, 0.9)


def test_the_wait_for_a_suggestion_is_told_by_how_much_was_observed(bench, monkeypatch):
    monkeypatch.setattr(bench.wait, "OBSERVATIONS", (5, 20))
    found = bench.wait.measure("random")
    assert all(0 < median <= longest < 10_000 for median, longest in found)
    assert len(found) == 2
    assert bench.wait.table({"random": found}).splitlines()[-1].startswith(f"| random | {found[0][0]} ms (")


def test_the_clock_of_a_live_search_does_not_jump(bench):
    spec = bench.wait.digits_spec("random")
    engine = bench.ready.Live(spec, None, None, stretch=0.01, until=12)
    world = SimpleNamespace(train=lambda _params, _seed: ([0.5] * spec.max_epochs, 1.0), regret=lambda _params: 0.0)
    began_s = time.perf_counter()
    with pytest.raises(bench.ready.Enough):
        bench.simulate.simulate(engine, world, workers=2, seed=0, budget_s=1e9, max_epochs=spec.max_epochs)
    # All scores are equal, so that all trials go on: to the rungs at 2 and 6, and to the end at 10.
    assert time.perf_counter() - began_s >= 2 * spec.max_epochs * 0.01
    assert engine.observations == 12
    assert [observations for observations, _ in engine.waits] == [0, 0, 5, 6, 11, 12]


def test_the_waits_on_the_page_are_those_that_were_recorded(bench):
    found = json.loads(bench.ready.RESULTS.read_text())["found"]
    assert bench.ready.table(found) in (BENCHMARKS.parent / "docs" / "search-quality.md").read_text()
