"""The Gaussian process of `--sampler mfgp` beside BoTorch's, on regret and on milliseconds per suggestion.

    pip install --target FOLDER --no-deps botorch gpytorch linear_operator pyro-ppl jaxtyping multipledispatch ...
    PYTHONPATH=FOLDER python benchmarks/search_quality/botorch_side.py --seeds 6

BoTorch is no dependency of this project; without it this says so and ends. Both samplers are told the same: normal
scores at the rungs, and which trials run. BoTorch's is its `SingleTaskGP` over configuration and logarithm of the epoch
with `qLogExpectedImprovement` at the last epoch, both with their defaults, on all observations.

Kept in `results/search_quality_botorch.json`; the tables of docs/search-quality.md are filled in.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna

sys.path.insert(0, str(Path(__file__).parent.parent))
from curves import load_curves
from engines import TunerEngine, new_spec
from main_job import circumstances
from methods import BUDGETS, SHARES
from simulate import simulate
from tasks import TASKS
from threadpoolctl import threadpool_limits

from tuner.asha import REDUCTION_FACTOR, default_grace_period
from tuner.search.mfgp import sampler as mfgp
from tuner.search.mfgp.encoding import Encoding
from tuner.search.mfgp.observed import Array, Seen, normal_scores
from tuner.search.mfgp.sampler import MultiFidelityGPSampler

RESULTS = Path(__file__).parent.parent / "results" / "search_quality_botorch.json"
PAGE = Path(__file__).parent.parent.parent / "docs" / "search-quality.md"
OBSERVATIONS = (100, 300, 1000)
REPETITIONS = 3
WORKERS = 8
_RESTARTS, _RAW = 4, 128  # of the search for the best configuration by the model


class BoTorchSampler(MultiFidelityGPSampler):
    """The same observations and the same coding of configurations; model and acquisition are BoTorch's."""

    def _most_promising(
        self, encoding: Encoding, trials: Sequence[Any], seen: Seen, draw: np.random.Generator
    ) -> Array:
        import torch
        from botorch.acquisition.fixed_feature import FixedFeatureAcquisitionFunction
        from botorch.acquisition.logei import qLogExpectedImprovement
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskGP
        from botorch.optim import optimize_acqf
        from gpytorch.mlls import ExactMarginalLogLikelihood

        torch.manual_seed(int(draw.integers(2**31)))
        units = torch.from_numpy(encoding.units([trial.params for trial in trials]))
        dimensions = units.shape[1]
        rows = torch.from_numpy(seen.rows)
        inputs = torch.cat([units[rows], torch.from_numpy(seen.shares)[:, None]], 1)
        model = SingleTaskGP(inputs, torch.from_numpy(normal_scores(seen.scores))[:, None])
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        trained = torch.cat([units[rows.unique()], torch.ones(len(rows.unique()), 1, dtype=units.dtype)], 1)
        best = model.posterior(trained).mean.max()
        running = torch.from_numpy(seen.unfinished)
        pending = torch.cat([units[running], torch.ones(len(running), 1, dtype=units.dtype)], 1)
        improvement = qLogExpectedImprovement(model, best, X_pending=pending if len(running) else None)
        at_the_end = FixedFeatureAcquisitionFunction(improvement, dimensions + 1, [dimensions], [1.0])
        bounds = torch.stack([torch.zeros(dimensions), torch.ones(dimensions)]).to(units)
        found, _ = optimize_acqf(at_the_end, bounds, q=1, num_restarts=_RESTARTS, raw_samples=_RAW)
        return np.asarray(found[0].numpy())


SAMPLERS = {"mfgp": MultiFidelityGPSampler, "botorch": BoTorchSampler}


def spec_for(task: str, seed: int) -> Any:
    """Of a search with the default early stopping."""
    return new_spec(
        TASKS[task].space(),
        sampler="mfgp",
        max_epochs=TASKS[task].max_epochs,
        grace_period=default_grace_period(TASKS[task].max_epochs),
        reduction_factor=REDUCTION_FACTOR,
        seed=seed,
        asha="stop",
    )


def regrets(task: str, sampler: str, seed: int) -> list[float]:
    """At each of `SHARES` of the budget of `WORKERS` workers."""
    world = load_curves(task)
    budget_s = BUDGETS[WORKERS] * world.full_seconds
    mfgp.MultiFidelityGPSampler = SAMPLERS[sampler]  # type: ignore[misc]
    try:
        engine = TunerEngine(spec_for(task, seed))
        result = simulate(
            engine, world, workers=WORKERS, seed=seed, budget_s=budget_s, max_epochs=TASKS[task].max_epochs
        )
    finally:
        mfgp.MultiFidelityGPSampler = MultiFidelityGPSampler  # type: ignore[misc]
    return [round(result.regret_at(share * budget_s), 3) for share in SHARES]


def milliseconds(sampler: str) -> list[float]:
    """CPU time of a suggestion with one thread, the median, for each of `OBSERVATIONS` scores at rungs of `digits`."""
    world, levels = load_curves("digits"), (2, 6, 10)
    generator = np.random.default_rng(0)
    encoding = Encoding(world.distributions)
    found = []
    for count in OBSERVATIONS:
        study = optuna.create_study(direction="maximize")
        scores = 0
        while scores < count:
            params = encoding.params(generator.random(len(encoding.names)))
            # About as many as ASHA lets through.
            reached = levels[: min(3, 1 + int(-np.log(generator.random()) / np.log(REDUCTION_FACTOR)))]
            curve, _ = world.train(params, scores)
            study.add_trial(
                optuna.trial.create_trial(
                    state=optuna.trial.TrialState.COMPLETE
                    if reached[-1] == levels[-1]
                    else optuna.trial.TrialState.PRUNED,
                    value=float(curve[reached[-1] - 1]),
                    params=params,
                    distributions=world.distributions,
                    intermediate_values={level: float(curve[level - 1]) for level in reached},
                )
            )
            scores += len(reached)
        taken = []
        for repetition in range(REPETITIONS):
            trial = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
            trial.number = 100_000 + repetition
            began_s = time.process_time()
            SAMPLERS[sampler](levels).sample_relative(study, trial, dict(world.distributions))
            taken.append(1000 * (time.process_time() - began_s))
        found.append(round(float(np.median(taken)), 1))
    return found


def tables(results: dict[str, Any]) -> str:
    """Both as Markdown."""
    lines = ["| sampler | " + " | ".join(f"{count} observations" for count in OBSERVATIONS) + " |", "|---|---|---|---|"]
    lines += [f"| {name} | " + " | ".join(f"{ms} ms" for ms in row) + " |" for name, row in results["ms"].items()]
    heads = [f"{100 * share:.0f} %" for share in SHARES]
    if not results["regret"]:
        return "\n".join(lines)
    lines += ["", "| task | sampler | seeds | " + " | ".join(heads) + " |", "|---|---|---|---|---|---|"]
    for task in dict.fromkeys(name.split("/")[0] for name in results["regret"]):
        ours = _by_seed(results, task, "mfgp")
        for sampler in SAMPLERS:
            rows = _by_seed(results, task, sampler)
            seeds = sorted(ours.keys() & rows.keys())
            values = np.array([rows[seed] for seed in seeds])
            differences = values - np.array([ours[seed] for seed in seeds])
            errors = differences.std(0, ddof=1) / np.sqrt(len(seeds))
            cells = [
                f"{value:.1f}" + (f" ({difference:+.1f} ± {error:.1f})" if sampler != "mfgp" else "")
                for value, difference, error in zip(values.mean(0), differences.mean(0), errors, strict=True)
            ]
            lines.append(f"| {task} | {sampler} | {len(seeds)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def keep(results: dict[str, Any]) -> None:
    """With where and by which versions they were measured."""
    import botorch

    whole = {**results, **circumstances(), "botorch": botorch.__version__}
    RESULTS.write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n")


def _by_seed(results: dict[str, Any], task: str, sampler: str) -> dict[int, list[float]]:
    prefix = f"{task}/{sampler}/"
    return {int(name.removeprefix(prefix)): row for name, row in results["regret"].items() if name.startswith(prefix)}


def main() -> None:
    """Measure what is missing, keep it, and fill the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=["digits", "cifar10-small"])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no search after so many (default 600)")
    options = parser.parse_args()
    try:
        import botorch  # noqa: F401
    except ImportError as error:
        sys.exit(f"BoTorch cannot be imported ({error}): see --help for how to install it beside this project")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"ms": {}, "regret": {}}
    import torch

    torch.set_num_threads(1)
    stop_s = time.monotonic() + 60 * options.minutes
    with threadpool_limits(1):
        for sampler in SAMPLERS:
            if sampler not in results["ms"]:
                results["ms"][sampler] = milliseconds(sampler)
                keep(results)
        for seed in range(options.seeds):
            for task in options.tasks:
                for sampler in SAMPLERS:
                    name = f"{task}/{sampler}/{seed}"
                    if name not in results["regret"] and time.monotonic() < stop_s:
                        results["regret"][name] = regrets(task, sampler, seed)
                        keep(results)
    print(tables(results))
    page = re.sub(
        r"<!-- botorch -->\n.*?<!-- end -->",
        lambda _: f"<!-- botorch -->\n{tables(results)}\n<!-- end -->",
        PAGE.read_text(),
        flags=re.DOTALL,
    )
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
