"""Configurations as numbers: Optuna's distributions to and from the unit cube, and to what a kernel can compare.

Shapes: N configurations, D dimensions, F features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Array = NDArray[np.float64]


class Encoding:
    """The dimensions of one space, in the order of `distributions`.

    A *unit* row has a number from 0 to 1 for each dimension, NaN where a (conditional) dimension has no value. Equal
    shares of it belong to each value of an int, a step or a choice, on a log scale where the distribution has one.
    A *feature* row is what a unit row means: numbers have one column, snapped to a value that exists; a choice has one
    per category, two of them as far apart as the ends of a number. Each dimension has another column that is 1 where it
    has no value.

    only_if: {name: {other: values}} for each dimension that exists only where another one, which always does, has one
    of these values.
    """

    def __init__(
        self,
        distributions: Mapping[str, BaseDistribution],
        only_if: Mapping[str, Mapping[str, Sequence[Any]]] | None = None,
    ) -> None:
        self.names = list(distributions)
        self._only_if = only_if or {}
        self._dimensions = [_dimension(distribution) for distribution in distributions.values()]
        own = [index for index, dimension in enumerate(self._dimensions) for _ in range(dimension.width)]
        self.owners = np.array([*own, *range(len(self.names))], np.int64)
        """F: the dimension to which each feature belongs."""

    def units(self, configurations: Sequence[Mapping[str, Any]]) -> Array:
        """Float64 N x D; the middle of its share for a value of an int, a step or a choice."""
        rows = np.full((len(configurations), len(self.names)), np.nan)
        for column, (name, dimension) in enumerate(zip(self.names, self._dimensions, strict=True)):
            for row, params in enumerate(configurations):
                if name in params:
                    rows[row, column] = dimension.unit(params[name])
        return np.asarray(np.clip(rows, 0.0, 1.0))

    def possible(self, units: Array, given: Mapping[str, Any]) -> Array:
        """The same rows with the values that are `given`, and NaN for the dimensions that do not exist in them."""
        units = units.copy()
        for column, share in enumerate(self.units([given])[0]):
            if not math.isnan(share):
                units[:, column] = share
        for name, condition in self._only_if.items():
            for other, values in condition.items():
                column = self.names.index(other)
                absent = ~self._dimensions[column].is_one_of(units[:, column], values)
                units[absent, self.names.index(name)] = np.nan
        return units

    def params(self, unit: Array) -> dict[str, Any]:
        """The configuration of one unit row, float64 D; without the dimensions that are NaN."""
        pairs = zip(self.names, self._dimensions, strict=True)
        return {
            name: dimension.value(float(share))
            for (name, dimension), share in zip(pairs, unit, strict=True)
            if not math.isnan(share)
        }

    def features(self, units: Array) -> Array:
        """Float64 N x F. A missing value lies in the middle of its numbers, or evenly between its categories."""
        columns = []
        for index, dimension in enumerate(self._dimensions):
            missing = np.isnan(units[:, index : index + 1])
            known = dimension.columns(np.where(missing[:, 0], 0.5, units[:, index]))
            columns.append(np.where(missing, dimension.middle, known))
        return np.concatenate([*columns, np.isnan(units).astype(np.float64)], axis=1)


class _Dimension(Protocol):
    """width: columns. middle: what they hold without a value."""

    @property
    def width(self) -> int: ...
    @property
    def middle(self) -> float: ...
    def unit(self, value: Any) -> float: ...
    def value(self, unit: float) -> Any: ...
    def columns(self, units: Array) -> Array: ...
    def is_one_of(self, units: Array, values: Sequence[Any]) -> NDArray[np.bool_]: ...


@dataclass(frozen=True)
class _Choice:
    distribution: CategoricalDistribution

    @property
    def width(self) -> int:
        return len(self.distribution.choices)

    @property
    def middle(self) -> float:
        return 1 / (self.width * math.sqrt(2))

    def unit(self, value: Any) -> float:
        return (self.distribution.to_internal_repr(value) + 0.5) / self.width

    def value(self, unit: float) -> Any:
        return self.distribution.choices[min(int(unit * self.width), self.width - 1)]

    def columns(self, units: Array) -> Array:
        # Two different categories are then at distance 1.
        return np.eye(self.width)[self._chosen(units)] / math.sqrt(2)

    def is_one_of(self, units: Array, values: Sequence[Any]) -> NDArray[np.bool_]:
        return np.isin(self._chosen(units), [self.distribution.to_internal_repr(value) for value in values])

    def _chosen(self, units: Array) -> NDArray[np.int64]:
        return np.minimum((units * self.width).astype(np.int64), self.width - 1)


@dataclass(frozen=True)
class _Number:
    """A float or an int. Its scale runs from `start` to `end`: half a step beyond the bounds where there is a step, so
    that the bounds themselves have whole shares; logarithms where the distribution is logarithmic."""

    distribution: FloatDistribution | IntDistribution
    width = 1
    middle = 0.5

    @property
    def _scale(self) -> tuple[float, float]:
        half = (self.distribution.step or 0) / 2
        return self._scaled(self.distribution.low - half), self._scaled(self.distribution.high + half)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.distribution.log else value

    def unit(self, value: Any) -> float:
        start, end = self._scale
        return (self._scaled(float(value)) - start) / (end - start) if end > start else 0.5

    def value(self, unit: float) -> Any:
        value = float(self._values(np.array([unit]))[0])
        return int(value) if isinstance(self.distribution, IntDistribution) else value

    def columns(self, units: Array) -> Array:
        low, high = self._scaled(self.distribution.low), self._scaled(self.distribution.high)
        if low == high:
            return np.full((len(units), 1), self.middle)
        values = self._values(units)
        scaled = np.log(values) if self.distribution.log else values
        return np.asarray((scaled - low) / (high - low))[:, None]

    def is_one_of(self, units: Array, values: Sequence[Any]) -> NDArray[np.bool_]:
        close = np.isclose(self._values(units)[:, None], np.asarray(values, np.float64), rtol=1e-9, atol=0.0)
        return np.asarray(close.any(axis=1))

    def _values(self, units: Array) -> Array:
        """Values that exist, within the bounds."""
        start, end = self._scale
        scaled = start + units * (end - start)
        values = np.exp(scaled) if self.distribution.log else scaled
        low, high, step = self.distribution.low, self.distribution.high, self.distribution.step
        if step:
            values = low + np.round((values - low) / step) * step
        return np.asarray(np.clip(values, low, high))


def _dimension(distribution: BaseDistribution) -> _Dimension:
    if isinstance(distribution, CategoricalDistribution):
        return _Choice(distribution)
    assert isinstance(distribution, FloatDistribution | IntDistribution), f"Optuna has no other: {distribution}"
    return _Number(distribution)
