"""The methods that are compared, and one run of one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from curves import load_curves
from engines import StockEngine, TunerEngine, new_spec
from simulate import Engine, simulate
from tasks import TASKS

from tuner.asha import default_grace_period

# Full trainings of the median configuration that each worker has time for, and the shares of it that are looked at.
BUDGETS = {1: 24.0, 8: 6.0, 32: 3.0}
SHARES = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Method:
    """sampler: of this project, or "stock": Ray Tune's OptunaSearch with its ASHAScheduler.

    grace_factor: on the default grace period, a twelfth of the epochs. full: every trial is trained to the end.
    """

    sampler: str
    grace_factor: int = 1
    full: bool = False
    reduction_factor: int = 4

    def engine(self, task: str, seed: int) -> Engine:
        """A search that begins."""
        space, max_epochs = TASKS[task].space(), TASKS[task].max_epochs
        if self.sampler == "stock":
            return StockEngine(space.distributions(), max_epochs=max_epochs, seed=seed)
        grace = max_epochs if self.full else self.grace_factor * default_grace_period(max_epochs)
        spec = new_spec(
            space,
            sampler=self.sampler,
            max_epochs=max_epochs,
            grace_period=grace,
            reduction_factor=self.reduction_factor,
            seed=seed,
        )
        return TunerEngine(spec)


METHODS = {
    "tpe": Method("tpe"),
    "mfgp": Method("mfgp"),
    "random": Method("random"),
    "random-full": Method("random", full=True),
    "stock": Method("stock"),
    "tpe-eta3": Method("tpe", reduction_factor=3),
    "mfgp-eta3": Method("mfgp", reduction_factor=3),
    "mfgp-eta2": Method("mfgp", reduction_factor=2),
    "mfgp-grace2x": Method("mfgp", grace_factor=2),
    "tpe-grace2x": Method("tpe", grace_factor=2),
    "random-eta3": Method("random", reduction_factor=3),
    "random-eta2": Method("random", reduction_factor=2),
}


def run(task: str, method: str, workers: int, seed: int) -> dict[str, Any]:
    """Regrets at each of `SHARES` of the budget, and how many trials and epochs that took."""
    world = load_curves(task)
    budget_s = BUDGETS[workers] * world.full_seconds
    engine = METHODS[method].engine(task, seed)
    result = simulate(engine, world, workers=workers, seed=seed, budget_s=budget_s, max_epochs=TASKS[task].max_epochs)
    regrets = [round(result.regret_at(share * budget_s), 3) for share in SHARES]
    return {"regret": regrets, "trials": result.trials, "epochs": result.epochs}
