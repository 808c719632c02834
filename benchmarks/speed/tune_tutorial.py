"""A search as Ray Tune's tutorials write it: a function trainable, a `DataLoader`, `OptunaSearch`, `ASHAScheduler`.

    python benchmarks/speed/tune_tutorial.py '{"budget_s": 300, "space": "cifar10-small", ...}'

Run by `whole_search.py`. What the script leaves to a user is done well: a trial on each core with one thread, pictures
held as arrays in memory, the network of the family, a learning rate that warms up and falls as ours does, and weight
decay of the same strength. Each epoch's validation accuracy goes to `curve` with the time of the monotonic clock.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from tuner import asha
from tuner.space import load_space


def train(config: dict[str, Any], plan: dict[str, Any]) -> None:
    """One trial."""
    import torch
    from torch import nn
    from torchvision import transforms
    from tutorial import loader, pictures

    from tuner.training import models
    from tuner.training.config import Hyperparameters
    from tuner.training.data import load_training_data
    from tuner.training.dataspec import DataSpec

    data = load_training_data(DataSpec(plan["dataset"], plan["data_dir"]), Path(plan["cache"]), "cpu")
    hp = Hyperparameters.from_params({**load_space(plan["space"]).constants, **config})
    info = data.info
    network = models.build(hp, (info.channels, info.height, info.width), len(info.classes))
    more = [transforms.RandomErasing(p=0.5 * hp.augment)] if hp.augment else []
    batches = loader(
        pictures(data, data.train_indices, training=True, more=more), hp.batch_size, 0, "cpu", training=True
    )
    held_out = loader(pictures(data, data.val_indices, training=False), 512, 0, "cpu", training=False)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=hp.lr, momentum=hp.momentum, nesterov=True, weight_decay=hp.l2 * (1 - hp.momentum)
    )
    steps = len(batches) * plan["max_epochs"]
    warm = min(len(batches), steps // 2)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))
        ),
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=hp.label_smoothing)
    for _ in range(plan["max_epochs"]):
        network.train()
        for inputs, labels in batches:
            optimizer.zero_grad()
            loss_of(network(inputs), labels).backward()
            optimizer.step()
            schedule.step()
        network.eval()
        with torch.no_grad():
            hits = sum(int((network(inputs).argmax(1) == labels).sum()) for inputs, labels in held_out)
        tune.report({"accuracy": hits / len(held_out.dataset)})


class Curve(tune.Callback):  # type: ignore[misc]
    """Writes down when which accuracy was known."""

    def __init__(self, path: str) -> None:
        self._path = path

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **_: Any) -> None:  # noqa: ARG002
        """Tune has taken a result."""
        with Path(self._path).open("a") as file:
            file.write(json.dumps({"s": time.monotonic(), "accuracy": result["accuracy"]}) + "\n")


def main() -> None:
    """Search."""
    plan = json.loads(sys.argv[1])
    space = load_space(plan["space"])
    ray.init(address="local", num_cpus=plan["workers"], log_to_driver=False, include_dashboard=False)
    rungs = {
        "max_t": plan["max_epochs"],
        "grace_period": min(plan["max_epochs"], asha.default_grace_period(plan["max_epochs"])),
        "reduction_factor": asha.REDUCTION_FACTOR,
    }
    tune.Tuner(
        tune.with_resources(tune.with_parameters(train, plan=plan), {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(
                space.distributions(),
                metric="accuracy",
                mode="max",
                seed=plan["seed"],
                points_to_evaluate=[dict(configuration) for configuration in plan["first"]],
            ),
            scheduler=ASHAScheduler(time_attr="training_iteration", metric="accuracy", mode="max", **rungs),
            num_samples=plan["trials"],
            max_concurrent_trials=plan["workers"],
            time_budget_s=plan["budget_s"],
        ),
        run_config=tune.RunConfig(storage_path=plan["folder"], verbose=0, callbacks=[Curve(plan["curve"])]),
    ).fit()


if __name__ == "__main__":
    main()
