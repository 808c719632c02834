"""How well the networks predict what they have not seen, next to other models and to the noise of training.

    python benchmarks/search_quality/check_surrogate.py

Ten-fold cross-validation at the last epoch: root mean squared error in logits of accuracy, and rank correlation.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from curves import load_table, new_forest, new_networks
from scipy.stats import spearmanr
from sklearn.dummy import DummyRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor
from tasks import TASKS, Task

from tuner.search.mfgp.encoding import Encoding


def errors(task: Task) -> dict[str, Any]:
    """The table of one task: {model: (error, rank correlation)}, the noise, and how many curves there are."""
    table = load_table(task)
    encoding = Encoding(task.space().distributions())
    features = encoding.features(encoding.units(table.params))
    models = {
        "networks": new_networks(),
        "forest": new_forest(),
        "7 nearest": KNeighborsRegressor(7, weights="distance"),
        "nearest": KNeighborsRegressor(1),
        "mean": DummyRegressor(),
    }
    scale = table.logits.std()
    scaled = (table.logits - table.logits.mean(0)) / scale
    truth = scaled[:, -1]
    found = {}
    for name, model in models.items():
        folds = KFold(10, shuffle=True, random_state=0)
        predicted = cross_val_predict(model, features, scaled, cv=folds)[:, -1]
        rank = 0.0 if name == "mean" else float(spearmanr(predicted, truth)[0])
        found[name] = (round(float(scale * np.sqrt(np.mean((predicted - truth) ** 2))), 3), round(rank, 3))
    noise = round(float(np.sqrt(np.mean(table.noise[:, -1] ** 2))), 3)
    return {"configurations": len(table.params), "noise": noise, "models": found}


def main() -> None:
    """Print a table for each task that is recorded."""
    # L-BFGS says so where rounding ends it before its tolerance does.
    warnings.simplefilter("ignore", ConvergenceWarning)
    heads = ["task", "configurations", "noise", "networks", "forest", "7 nearest", "nearest", "mean of all"]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for task in TASKS.values():
        if task.table.exists():
            found = errors(task)
            cells = [f"{error} ({rank})" for error, rank in found["models"].values()]
            print(f"| {task.name} | {found['configurations']} | {found['noise']} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
