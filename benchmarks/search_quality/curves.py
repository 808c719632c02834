"""Learning curves of any configuration of a space, by small networks or a forest fitted to the recorded ones.

A search suggests configurations that were never recorded. The mean of a few networks predicts the whole curve from the
configuration, as in the public surrogate benchmarks (YAHPO Gym, Pfisterer et al. 2022); where some configurations do
not learn at all it is the mean of many trees. `check_surrogate.py` prints how well they do on configurations that they
have not seen. Neither is a Gaussian process, which the sampler of that kind would find easy.

Shapes: N recorded configurations, E epochs, F features, R repeated trainings.
"""

from __future__ import annotations

import functools
import json
import lzma
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import BaggingRegressor, ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from tasks import TASKS, Task
from threadpoolctl import threadpool_limits

from tuner.search.mfgp.encoding import Encoding

Array = NDArray[np.float64]
NETWORKS = 8
TREES = 100
# Noise is taken from the repeated configurations whose curves are most like the predicted one.
_ALIKE = 6
_DRAWS = 50_000


@dataclass(frozen=True)
class Table:
    """What was recorded. logits: float64 N x E, of accuracies; seconds: float64 N, CPU time of an epoch. Only the first
    seed of each configuration. means, noise: float64 R x E, of repeated configurations in logits: the mean of their
    seeds, and what one seed is away from it. pictures: that score."""

    params: list[dict[str, Any]]
    logits: Array
    seconds: Array
    means: Array
    noise: Array
    pictures: int


def load_table(task: Task) -> Table:
    """Read the packed recording of a task. An epoch after training diverged counts as guessing."""
    lines = lzma.decompress(task.table.read_bytes()).decode().splitlines()
    entries = [json.loads(line) for line in lines]
    pictures = entries[0]["of"]
    curves: dict[int, list[Array]] = {}
    for entry in entries:
        guessed = [pictures / 10] * (task.max_epochs - len(entry["hits"]))
        curves.setdefault(entry["number"], []).append(_logit(np.array(entry["hits"] + guessed), pictures))
    firsts = [entry for entry in entries if entry["seed"] == 0]
    repeated = [np.stack(found) for found in curves.values() if len(found) > 1]
    # The deviation from a mean of n seeds is too small by sqrt(1 - 1/n).
    noise = [(found - found.mean(0)) / np.sqrt(1 - 1 / len(found)) for found in repeated]
    return Table(
        params=[entry["params"] for entry in firsts],
        logits=np.stack([curves[entry["number"]][0] for entry in firsts]),
        seconds=np.array([np.median(entry["seconds"]) if entry["seconds"] else np.nan for entry in firsts]),
        means=np.concatenate([np.repeat(found.mean(0)[None], len(found), 0) for found in repeated]),
        noise=np.concatenate(noise),
        pictures=pictures,
    )


def _logit(hits: Array, pictures: int) -> Array:
    share = (hits + 0.5) / (pictures + 1)
    return np.asarray(np.log(share / (1 - share)))


class Curves:
    """A task to search: what training any configuration would report, and how good it truly is."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.distributions = task.space().distributions()
        self._table = load_table(task)
        self._encoding = Encoding(self.distributions)
        known = ~np.isnan(self._table.seconds)
        self._mean, self._scale = self._table.logits.mean(0), float(self._table.logits.std())
        targets = np.column_stack([(self._table.logits - self._mean) / self._scale, np.log(self._table.seconds)])
        # L-BFGS says so where rounding ends it before its tolerance does.
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = new_forest() if task.cliffs else new_networks()
            self._model = model.fit(self._features(self._table.params)[known], targets[known])
        units = np.random.default_rng(0).random((_DRAWS, len(self._encoding.names)))
        logits, log_seconds = self._predict(self._encoding.features(units))
        final = _accuracy(logits[:, -1])
        self.best, self.median = float(final.max()), float(np.median(final))
        self.full_seconds = float(np.median(np.exp(log_seconds))) * task.max_epochs
        """Of a full training of the median configuration."""

    def train(self, params: Mapping[str, Any], seed: int) -> tuple[Array, float]:
        """(float64 E: the accuracies that a training with this seed reports, seconds of an epoch)."""
        logits, log_seconds = self._predict(self._features([params]))
        expected, seconds = logits[0], float(np.exp(log_seconds[0]))
        distance = ((self._table.means - expected) ** 2).sum(1)
        alike = np.argsort(distance, kind="stable")[:_ALIKE]
        noise = self._table.noise[np.random.default_rng(seed).choice(alike)]
        pictures = self._table.pictures
        return np.round(_accuracy(expected + noise) * pictures) / pictures, seconds

    def regret(self, params: Mapping[str, Any]) -> float:
        """Of the expected accuracy after a full training: 0 is the best of 50,000 draws, 100 their median."""
        final = _accuracy(self._predict(self._features([params]))[0][0, -1])
        return 100.0 * (self.best - float(final)) / (self.best - self.median)

    def _features(self, configurations: list[Any]) -> Array:
        return self._encoding.features(self._encoding.units(configurations))

    def _predict(self, features: Array) -> tuple[Array, Array]:
        """Logits by epoch, and logarithms of seconds."""
        total = self._by_networks(features) if isinstance(self._model, Pipeline) else self._model.predict(features)
        return self._mean + self._scale * total[:, :-1], total[:, -1]

    def _by_networks(self, features: Array) -> Array:
        """By hand: scikit-learn's checks take longer than a row."""
        scaler, networks = self._model.steps[0][1], self._model.steps[1][1].estimators_
        rows = (features - scaler.mean_) / scaler.scale_
        total = np.zeros((len(features), len(self._mean) + 1))
        for network in networks:
            (first, last), (first_bias, last_bias) = network.coefs_, network.intercepts_
            total += np.tanh(rows @ first + first_bias) @ last + last_bias
        return np.asarray(total / len(networks))


def new_networks() -> Pipeline:
    """Networks of one hidden layer, to be fitted to features and targets of about unit variance."""
    network = MLPRegressor(hidden_layer_sizes=(32,), activation="tanh", alpha=1.0, solver="lbfgs", max_iter=200)
    return make_pipeline(StandardScaler(), BaggingRegressor(network, NETWORKS, bootstrap=False, random_state=0))


def new_forest() -> ExtraTreesRegressor:
    """Trees that are grown until each leaf holds two curves."""
    return ExtraTreesRegressor(TREES, min_samples_leaf=2, random_state=0)


def _accuracy(logits: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-logits)))


@functools.cache
def load_curves(name: str) -> Curves:
    """The task `name`, fitted once per process."""
    return Curves(TASKS[name])
