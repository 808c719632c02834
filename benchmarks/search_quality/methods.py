"""The methods that are compared, and one run of one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from curves import load_curves
from engines import AtOnce, StockEngine, TunerEngine, new_spec
from simulate import Engine, simulate
from tasks import TASKS

from tuner.asha import REDUCTION_FACTOR, default_grace_period

# Full trainings of the median configuration that each worker has time for, and the shares of it that are looked at.
BUDGETS = {1: 24.0, 8: 6.0, 32: 3.0}
SHARES = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Method:
    """sampler: of this project, or "stock": Ray Tune's OptunaSearch with its ASHAScheduler.

    grace_period: in epochs; None is the default. full: every trial is trained to the end. asha: "stop" or "promote".
    ahead: suggestions are made before a worker asks, as by `tuner search`.
    """

    sampler: str
    grace_period: int | None = None
    full: bool = False
    reduction_factor: int = REDUCTION_FACTOR
    asha: str = "stop"
    ahead: bool = False

    def engine(self, task: str, seed: int) -> Engine:
        """A search that begins."""
        space, max_epochs = TASKS[task].space(), TASKS[task].max_epochs
        if self.sampler == "stock":
            return StockEngine(space.distributions(), max_epochs=max_epochs, seed=seed)
        grace = max_epochs if self.full else self.grace_period or default_grace_period(max_epochs)
        spec = new_spec(
            space,
            sampler=self.sampler,
            max_epochs=max_epochs,
            grace_period=grace,
            reduction_factor=self.reduction_factor,
            seed=seed,
            asha=self.asha,
        )
        return TunerEngine(spec, AtOnce() if self.ahead else None)


_SAMPLERS = ("tpe", "mfgp")
METHODS = {
    **{sampler: Method(sampler) for sampler in (*_SAMPLERS, "random")},
    "random-full": Method("random", full=True),
    "stock": Method("stock"),
    **{f"{sampler}-ahead": Method(sampler, ahead=True) for sampler in _SAMPLERS},
    **{f"{sampler}-promote-ahead": Method(sampler, asha="promote", ahead=True) for sampler in _SAMPLERS},
    **{f"{sampler}-promote": Method(sampler, asha="promote") for sampler in (*_SAMPLERS, "random")},
    **{f"{sampler}-eta{eta}": Method(sampler, reduction_factor=eta) for sampler in _SAMPLERS for eta in (2, 4)},
    **{f"{sampler}-grace1": Method(sampler, grace_period=1) for sampler in _SAMPLERS},
    **{
        f"{sampler}-grace1-eta{eta}": Method(sampler, grace_period=1, reduction_factor=eta)
        for sampler in _SAMPLERS
        for eta in (2, 4)
    },
}


def run(task: str, method: str, workers: int, seed: int) -> dict[str, Any]:
    """Regrets at each of `SHARES` of the budget, and how many trials and epochs that took."""
    world = load_curves(task)
    budget_s = BUDGETS[workers] * world.full_seconds
    engine = METHODS[method].engine(task, seed)
    result = simulate(engine, world, workers=workers, seed=seed, budget_s=budget_s, max_epochs=TASKS[task].max_epochs)
    regrets = [round(result.regret_at(share * budget_s), 3) for share in SHARES]
    return {"regret": regrets, "trials": result.trials, "epochs": result.epochs}
