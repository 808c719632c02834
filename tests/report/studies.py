"""Studies as a report reads them, made up: scripted curves, ASHA's own decisions, workers with a clock of their own."""

from __future__ import annotations

import math
import random
from typing import Any

from tests.factories import LR, NORM, WIDTH, new_ref, new_space, new_spec, new_trial
from tuner import asha
from tuner.report.record import Epoch, StudyDetail, TrialDetail
from tuner.study import Study

BEGAN_S = 1_790_000_000.0

DIMENSIONS = {
    "optimizer": {"type": "choice", "choices": ["sgd", "adamw"]},
    "momentum": {
        "type": "float", "low": 0.5, "high": 0.99, "log": False, "step": None, "only_if": {"optimizer": ["sgd"]}
    },
    "lr": LR,
    "width": WIDTH,
    "norm": NORM,
    "dropout": {"type": "float", "low": 0.0, "high": 0.5, "log": False, "step": None},
    "depth": {"type": "int", "low": 2, "high": 6, "log": False, "step": None},
    "l2": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True, "step": None},
}  # fmt: skip

ENVIRONMENT = {
    "started_s": BEGAN_S,
    "host": "head",
    "system": "Linux x86_64",
    "python": "3.11.7",
    "tuner": "0.1.0",
    "packages": {"torch": "2.15.0", "ray": "2.60.0"},
    "commit": "a" * 40 + "+",
}


def detail_of(*trials: TrialDetail, driver: dict[str, Any] | None = None, **changes: Any) -> StudyDetail:
    """A study of these trials. changes: of its spec."""
    spec = new_spec(**{"trials": max(1, len(trials)), **changes})
    study = Study(spec, tuple(trial.record for trial in trials), spec.trials, driver, environments=(ENVIRONMENT,))
    return StudyDetail(study, trials)


def trial_of(number: int = 0, scores: tuple[float, ...] = (), start_s: float = BEGAN_S, **changes: Any) -> TrialDetail:
    """A trial with one epoch a second on one worker."""
    epochs = tuple(
        Epoch(epoch, score, 1.0 - score, 1.1 - score, 1.0, "here:1 (CPU)", 1, start_s + epoch)
        for epoch, score in enumerate(scores, start=1)
    )
    kept = new_ref(epoch=scores.index(max(scores)) + 1, score=max(scores)) if scores else None
    values = [(epoch.epoch, epoch.score) for epoch in epochs]
    given = {"values": values, "best_checkpoint": kept, "seconds": float(len(scores)), **changes}
    return TrialDetail(new_trial(number, **given), epochs, created_s=start_s)


def searched(trials: int, *, workers: int = 8, max_epochs: int = 27, seed: int = 0) -> StudyDetail:
    """A whole search over `DIMENSIONS`: some trials diverge, the others are judged by ASHA as they come."""
    spec = new_spec(
        name="large", space=new_space(dimensions=DIMENSIONS), trials=trials, max_epochs=max_epochs, grace_period=1
    )
    chance = random.Random(seed)
    rungs: dict[int, list[float]] = {rung: [] for rung in spec.rungs()}
    free_s = [BEGAN_S + worker for worker in range(workers)]
    details = []
    for number in range(trials):
        worker = min(range(workers), key=lambda one: free_s[one])
        params = draw(chance)
        peak = 0.9 - 0.08 * (math.log10(params["lr"]) + 1.5) ** 2 - 0.2 * params["dropout"] + chance.gauss(0, 0.03)
        name, now_s, epochs = (
            f"machine-{worker % 4}:{1000 + worker} (NVIDIA H100)",
            free_s[worker] + chance.random(),
            [],
        )
        state, reason = "complete", None
        for epoch in range(1, max_epochs + 1):
            seconds = 2.0 + params["width"] / 16 + chance.random()
            now_s += seconds
            if params["lr"] > 0.28:
                state, reason = "failed", {"kind": "diverged", "detail": f"loss inf at epoch {epoch}"}
                break
            score = round(max(0.1, peak * (1 - math.exp(-epoch / 6)) + chance.gauss(0, 0.01)), 6)
            epochs.append(Epoch(epoch, score, 1.0, 1.0, seconds, name, 1, now_s))
            if epoch in rungs:
                decision = asha.decide(score, rungs[epoch], spec.reduction_factor)
                rungs[epoch].append(score)
                if not decision.go_on:
                    state = "pruned"
                    reason = {"kind": "asha", "rung": epoch, "rank": decision.rank, "peers": decision.peers}
                    break
        free_s[worker] = now_s + 0.3
        best = max(epochs, key=lambda one: one.score, default=None)
        record = new_trial(
            number,
            state=state,
            reason=reason,
            params=params,
            values=[(one.epoch, one.score) for one in epochs],
            seconds=sum(one.seconds for one in epochs),
            best_checkpoint=new_ref(epoch=best.epoch, score=best.score) if best and state == "complete" else None,
        )
        details.append(TrialDetail(record, tuple(epochs), created_s=now_s))
    study = Study(spec, tuple(one.record for one in details), trials, None, environments=(ENVIRONMENT,))
    return StudyDetail(study, tuple(details))


def draw(chance: random.Random) -> dict[str, Any]:
    """Parameters of `DIMENSIONS`; `momentum` is there for SGD only."""
    params: dict[str, Any] = {
        "optimizer": chance.choice(["sgd", "adamw"]),
        "momentum": chance.uniform(0.5, 0.99),
        "lr": 10 ** chance.uniform(-3, math.log10(0.3)),
        "width": chance.choice([16, 32, 48, 64]),
        "norm": chance.choice(["batch", "none"]),
        "dropout": chance.uniform(0.0, 0.5),
        "depth": chance.randint(2, 6),
        "l2": 10 ** chance.uniform(-5, -1),
    }
    if params["optimizer"] != "sgd":
        del params["momentum"]
    return params
