"""A Gaussian process over configuration and training time, with its hyperparameters by maximum a posteriori.

The covariance of two observations (x, s) and (x', s'), x being features and s the share of log epochs, 0 to 1:

    a² M(|x - x'| / l) M(|s - s'| / l_s) + t² M(|s - s'|) + n² [same observation]

M is the Matérn 5/2 function, with a length scale l for each dimension of the space (Rasmussen & Williams 2006, eq. 4.17
and 5.1). The first term says that curves of like configurations are alike, the second that all curves rise.

Shapes: N observations, M others, D dimensions of the space, F features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]

_SQRT5 = math.sqrt(5.0)
# Of the outputs' variance, which is 1: keeps the Cholesky factor finite where all configurations are the same.
_JITTER = 1e-6
# What is left of it where a score is taken as known.
_EXACT = 1e-4
# The priors of the logarithms of (l, l_s, a, t, n): wide, centred where a fit to few observations should stay. Length
# scales beyond the cube and much noise: a process that believes single scores less makes the better searches.
_LENGTH, _LENGTH_SD = math.log(1.5), 0.8
_FIDELITY, _FIDELITY_SD = math.log(1.0), 0.7
_SCALE, _SCALE_SD = math.log(0.8), 0.5
_TREND, _TREND_SD = math.log(0.8), 0.5
_NOISE, _NOISE_SD = math.log(0.3), 0.7
_ITERATIONS = 12


@dataclass(frozen=True)
class Observations:
    """features: float64 N x F. shares: float64 N, of log epochs. scores: float64 N, mean about 0, variance about 1."""

    features: Array
    shares: Array
    scores: Array

    def __len__(self) -> int:
        return len(self.scores)

    def rows(self, chosen: NDArray[np.int64]) -> Observations:
        """Some of them."""
        return Observations(self.features[chosen], self.shares[chosen], self.scores[chosen])


@dataclass(frozen=True)
class Kernel:
    """Covariances. lengths: float64 F, the length scale of each feature's dimension."""

    lengths: Array
    fidelity: float
    scale: float
    trend: float
    noise: float

    def between(self, left: Array, left_shares: Array, right: Array, right_shares: Array) -> Array:
        """Float64 N x M, without noise."""
        a, b = left / self.lengths, right / self.lengths
        squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2.0 * (a @ b.T)
        gaps = np.abs(left_shares[:, None] - right_shares[None, :])
        alike = _matern(np.sqrt(np.maximum(squares, 0.0))) * _matern(gaps / self.fidelity)
        return np.asarray(self.scale**2 * alike + self.trend**2 * _matern(gaps))

    @property
    def variance(self) -> float:
        """Of any point before anything is observed, without noise."""
        return self.scale**2 + self.trend**2


class Posterior:
    """What the observations say about any other point."""

    def __init__(self, kernel: Kernel, seen: Observations, exact: int = 0) -> None:
        """exact: how many of the observations, the last ones, have no noise."""
        self._kernel = kernel
        self._seen = seen
        self._exact = exact
        variances = np.full(len(seen), kernel.noise**2 + _JITTER)
        variances[len(seen) - exact :] = _EXACT
        covariance = kernel.between(seen.features, seen.shares, seen.features, seen.shares) + np.diag(variances)
        self._factor = cholesky(covariance, lower=True, check_finite=False)
        self._weights: Array = cho_solve((self._factor, True), seen.scores, check_finite=False)

    def mean(self, features: Array, shares: Array) -> Array:
        """Float64 M."""
        return np.asarray(
            self._kernel.between(features, shares, self._seen.features, self._seen.shares) @ self._weights
        )

    def expecting(self, features: Array, shares: Array) -> Posterior:
        """As if these M points were known to have their means: no mean changes, but nothing new is to be seen there."""
        more = Observations(
            np.concatenate([self._seen.features, features]),
            np.concatenate([self._seen.shares, shares]),
            np.concatenate([self._seen.scores, self.mean(features, shares)]),
        )
        return Posterior(self._kernel, more, exact=self._exact + len(features))

    def mean_and_deviation(self, features: Array, shares: Array) -> tuple[Array, Array]:
        """Float64 M each, of the score without its noise."""
        cross = self._kernel.between(self._seen.features, self._seen.shares, features, shares)
        explained = solve_triangular(self._factor, cross, lower=True, check_finite=False)
        variance = self._kernel.variance - (explained * explained).sum(0)
        return np.asarray(self._weights @ cross), np.sqrt(np.maximum(variance, _JITTER))


def fit(seen: Observations, owners: NDArray[np.int64]) -> Kernel:
    """The kernel whose hyperparameters are most probable given the observations.

    owners: int64 F, the dimension of each feature. Deterministic; does not fail on duplicates or on equal scores.
    """
    count = int(owners.max()) + 1
    differences = np.zeros((count, len(seen), len(seen)))
    for column, owner in enumerate(owners):
        values = seen.features[:, column]
        differences[owner] += (values[:, None] - values[None, :]) ** 2
    gaps = np.abs(seen.shares[:, None] - seen.shares[None, :])
    flat = differences.reshape(count, -1)
    centre = np.array([*[_LENGTH] * count, _FIDELITY, _SCALE, _TREND, _NOISE])
    spread = np.array([*[_LENGTH_SD] * count, _FIDELITY_SD, _SCALE_SD, _TREND_SD, _NOISE_SD])
    trend_alike = _matern(gaps)

    def loss(logs: Array) -> tuple[float, Array]:
        """Minus the log posterior of the hyperparameters (Rasmussen & Williams, eq. 5.8 and 5.9), and its gradient."""
        lengths, (fidelity, scale, trend, noise) = np.exp(logs[:count]), np.exp(logs[count:])
        distance = np.sqrt(np.maximum(lengths**-2.0 @ flat, 0.0)).reshape(gaps.shape)
        alike, alike_in_time = _matern(distance), _matern(gaps / fidelity)
        curves = scale**2 * alike * alike_in_time
        trends = trend**2 * trend_alike
        covariance = curves + trends
        covariance[np.diag_indices_from(covariance)] += noise**2 + _JITTER
        factor = cholesky(covariance, lower=True, check_finite=False, overwrite_a=True)
        weights = cho_solve((factor, True), seen.scores, check_finite=False)
        inverse = cho_solve((factor, True), np.eye(len(seen)), check_finite=False)
        away = (logs - centre) / spread
        value = 0.5 * seen.scores @ weights + np.log(np.diag(factor)).sum() + 0.5 * away @ away
        pull = inverse - np.outer(weights, weights)
        # d M(r) / d log l = 5/3 (1 + sqrt(5) r) exp(-sqrt(5) r) times the dimension's own part of r².
        by_length = (pull * scale**2 * alike_in_time * _slope(distance)).ravel()
        gradient = np.empty_like(logs)
        gradient[:count] = 0.5 * (flat @ by_length) / lengths**2
        gradient[count] = 0.5 * (pull * scale**2 * alike * _slope(gaps / fidelity) * (gaps / fidelity) ** 2).sum()
        gradient[count + 1] = (pull * curves).sum()
        gradient[count + 2] = (pull * trends).sum()
        gradient[count + 3] = np.trace(pull) * noise**2
        return float(value), gradient + away / spread

    bounds = list(zip(centre - 4.0 * spread, centre + 4.0 * spread, strict=True))
    found: Any = minimize(
        loss, centre, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _ITERATIONS, "maxcor": 10}
    )
    best = np.exp(found.x)
    return Kernel(best[:count][owners], *map(float, best[count:]))


def _matern(distance: Array) -> Array:
    """Matérn 5/2."""
    scaled = _SQRT5 * distance
    return np.asarray((1.0 + scaled + scaled * scaled / 3.0) * np.exp(-scaled))


def _slope(distance: Array) -> Array:
    scaled = _SQRT5 * distance
    return np.asarray(5.0 / 3.0 * (1.0 + scaled) * np.exp(-scaled))
