"""Configurations: values for the dimensions of a space. Which dimensions exist in one, and whether it is in the space.

A dimension with `only_if` exists in a configuration in which the dimension that it names has one of its values. Where
it does not exist, its hyperparameter keeps its constant or default.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tuner.errors import UsageError
from tuner.training.config import Value

Dimensions = Mapping[str, Mapping[str, Any]]


def exists(table: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Whether the dimension of this checked `table` exists in a configuration with these `values`."""
    return all(
        any(same(values[name], allowed) for allowed in choices) if name in values else False
        for name, choices in table.get("only_if", {}).items()
    )


def same(value: object, other: object) -> bool:
    """Whether two values are equal: numbers as computers add them up, and nothing but text equals text."""
    if isinstance(value, str | bool) or isinstance(other, str | bool):
        return type(value) is type(other) and value == other
    assert isinstance(value, int | float)
    assert isinstance(other, int | float)
    return math.isclose(value, other, rel_tol=1e-9)


def in_drawing_order(dimensions: Dimensions) -> list[str]:
    """The names of the dimensions: in their order, but those with `only_if` after all others, on which they depend."""
    return sorted(dimensions, key=lambda name: "only_if" in dimensions[name])


def value_in(name: str, value: object, table: Mapping[str, Any]) -> Value:
    """`value` in the type of the dimension. Raises UsageError with the bounds if it is not a value of it."""
    refusal = UsageError(f"{name} = {value!r} is not in the space: it must be {describe_bounds(table)}")
    if table["type"] == "choice":
        for choice in table["choices"]:
            if isinstance(value, str | int | float) and same(value, choice):
                return choice  # type: ignore[no-any-return]
        raise refusal
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise refusal
    if not table["low"] <= value <= table["high"]:
        raise refusal
    if table["type"] == "int" and value != int(value):
        raise refusal
    if table["step"]:
        steps = (value - table["low"]) / table["step"]
        if not math.isclose(steps, round(steps), abs_tol=1e-6):
            raise refusal
    return int(value) if table["type"] == "int" else float(value)


def describe_bounds(table: Mapping[str, Any]) -> str:
    """What values a dimension has, in words."""
    if table["type"] == "choice":
        return "one of " + ", ".join(map(str, table["choices"]))
    word = "a whole number" if table["type"] == "int" else "a number"
    steps = f" in steps of {table['step']}" if table["step"] else ""
    return f"{word} from {table['low']} to {table['high']}{steps}"


def describe_condition(table: Mapping[str, Any]) -> str:
    """When a dimension exists, such as "optimizer is sgd"; empty if always."""
    return " and ".join(
        f"{name} is {' or '.join(map(str, values))}" for name, values in table.get("only_if", {}).items()
    )


def check_configuration(given: Mapping[str, Any], dimensions: Dimensions, *, complete: bool) -> dict[str, Value]:
    """The configuration with its values in the type and order of the `dimensions`.

    complete: whether each dimension that exists in it has to have a value. Raises UsageError, with the name and the
    bounds, for a name that is no dimension, a value that is not in the space, and a dimension that is missing or does
    not exist where the others have these values.
    """
    unknown = sorted(given.keys() - dimensions.keys())
    if unknown:
        raise UsageError(f"unknown key {unknown[0]!r}; known are {', '.join(sorted(dimensions))}")
    values = {name: value_in(name, given[name], table) for name, table in dimensions.items() if name in given}
    for name, table in dimensions.items():
        if name in values and not exists(table, values):
            found = ", ".join(
                f"here is {key} = {values[key]!r}: leave it out" if key in values else f"{key} is missing: give it too"
                for key in table["only_if"]
            )
            raise UsageError(f"{name} exists only if {describe_condition(table)}, and {found}")
        if complete and name not in values and exists(table, values):
            raise UsageError(f"{name} is missing: it needs a value for each dimension")
    return values


def check_conditions(source: str, dimensions: dict[str, dict[str, Any]]) -> None:
    """Check each `only_if` and make it {name: list of values}.

    Raises UsageError, naming `source`, for one that is not of this form, names no dimension, itself or a dimension
    that is conditional too, or a value that this one does not have.
    """
    for name, table in dimensions.items():
        if "only_if" not in table:
            continue
        condition = table["only_if"]
        where = f"{source}: {name}: only_if"
        if not isinstance(condition, dict) or len(condition) != 1:
            raise UsageError(f'{where} = {condition!r} must name one dimension, such as {{ optimizer = "sgd" }}')
        ((parent, wanted),) = condition.items()
        if parent == name:
            raise UsageError(f"{where} names {name} itself: name another dimension")
        if parent not in dimensions:
            known = ", ".join(other for other in dimensions if other != name)
            raise UsageError(f"{where} names {parent!r}, which is no dimension of [space]; these are {known}")
        if "only_if" in dimensions[parent]:
            raise UsageError(f"{where} names {parent}, which has an only_if of its own: one level is allowed")
        if dimensions[parent]["type"] == "float" and not dimensions[parent]["step"]:
            raise UsageError(f"{where} names {parent}, a float without step, which hardly ever is exactly some value")
        values = wanted if isinstance(wanted, list) else [wanted]
        if not values:
            raise UsageError(f"{where} {parent} = [] must list at least one value")
        try:
            table["only_if"] = {parent: [value_in(parent, value, dimensions[parent]) for value in values]}
        except UsageError as error:
            raise UsageError(f"{where} {error}") from None
