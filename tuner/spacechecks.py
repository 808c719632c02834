"""What a space may say: each table of a space document checked, with file, key, value and allowed range in refusals.

The format is described in search_spaces/README.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tuner.configurations import check_conditions, check_configuration
from tuner.errors import UsageError
from tuner.training import config
from tuner.training.modelspec import check_model_name, is_own

# What a space file may say about the search itself: key -> (lowest, highest).
SEARCH_KEYS = {"max_epochs": (1, 100_000), "trials": (1, 1_000_000), "grace_period": (1, 100_000)}
SEARCH_KEYS["reduction_factor"] = (2, 16)
# What it may say about the pictures that it is made for.
INPUT_KEYS = {"size": (4, 1024), "channels": (1, 3), "classes": (2, 100_000)}

_DIMENSION_KEYS = {
    "float": {"type", "low", "high", "log", "step", "only_if"},
    "int": {"type", "low", "high", "log", "step", "only_if"},
    "choice": {"type", "choices", "only_if"},
}


def check_tables(document: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """The tables of a space document, checked and with defaults filled in: the fields of a `Space` but its source.

    Raises UsageError with `source`, the key, the value and the allowed range for anything that is wrong in it.
    """
    _refuse_unknown(source, "", document, {"model", "space", "constants", "search", "start", "input"})
    model = document.get("model", "")
    if model:
        check_model_name(model)
    for section, content in document.items():
        if section != "model" and not isinstance(content, dict):
            raise UsageError(f"{source}: [{section}] must be a table, not {content!r}")
    if not document.get("space"):
        raise UsageError(f"{source}: [space] is missing or empty; it needs at least one dimension")
    with_source = _Checker(source, own_network=is_own(model))
    dimensions = {name: with_source.dimension(name, table) for name, table in document["space"].items()}
    constants = {name: with_source.constant(name, value) for name, value in document.get("constants", {}).items()}
    check_conditions(source, dimensions)
    both = sorted(name for name in dimensions.keys() & constants.keys() if "only_if" not in dimensions[name])
    if both:
        raise UsageError(f"{source}: {both[0]} is in [space] and in [constants]; keep one")
    for section, known in (("search", SEARCH_KEYS), ("input", INPUT_KEYS)):
        numbers = document.get(section, {})
        _refuse_unknown(source, f"[{section}] ", numbers, known.keys())
        for key, value in numbers.items():
            low, high = known[key]
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise UsageError(f"{source}: [{section}] {key} = {value!r} must be a whole number from {low} to {high}")
    return {
        "dimensions": dimensions,
        "constants": constants,
        "search": document.get("search", {}),
        "start": _start(source, document.get("start", {}), dimensions),
        "input": document.get("input", {}),
        "model": model,
    }


def _start(source: str, values: Mapping[str, Any], dimensions: Mapping[str, dict[str, Any]]) -> dict[str, config.Value]:
    """The first configuration in the order of `dimensions`: all that exist in it, each within its bounds."""
    try:
        return check_configuration(values, dimensions, complete=True) if values else {}
    except UsageError as error:
        raise UsageError(f"{source}: [start] {error}") from None


class _Checker:
    """Checks single entries, putting the file's name before each message.

    own_network: a function of the user's gets all values, so that names that are not of the training may be any.
    """

    def __init__(self, source: str, *, own_network: bool) -> None:
        self.source = source
        self.own_network = own_network

    def _error(self, name: str, problem: str) -> UsageError:
        return UsageError(f"{self.source}: {name}: {problem}")

    def _is_free(self, name: str) -> bool:
        if not self.own_network or not config.is_free(name):
            return False
        if not name.isidentifier():
            raise self._error(repr(name), "a parameter of your function must be named by letters, digits and _")
        return True

    def constant(self, name: str, value: object) -> config.Value:
        free = self._is_free(name)
        try:
            return config.check_free_value(name, value) if free else config.check_value(name, value)
        except UsageError as error:
            raise UsageError(f"{self.source}: [constants] {error}") from None

    def dimension(self, name: str, table: object) -> dict[str, Any]:
        free = self._is_free(name)
        try:
            wanted = None if free else config.kind(name)
        except UsageError as error:
            raise UsageError(f"{self.source}: [space] {error}") from None
        if not isinstance(table, dict):
            raise self._error(
                name, f'must be a table such as {{ type = "float", low = 0.0, high = 1.0 }}, not {table!r}'
            )
        dimension_type = table.get("type")
        if not isinstance(dimension_type, str) or dimension_type not in _DIMENSION_KEYS:
            raise self._error(name, f"type = {dimension_type!r} must be one of float, int, choice")
        _refuse_unknown(self.source, f"{name}: ", table, _DIMENSION_KEYS[dimension_type])
        condition = {"only_if": table["only_if"]} if "only_if" in table else {}
        if dimension_type == "choice":
            return {"type": "choice", "choices": self._choices(name, table), **condition}
        allowed_types = {"float": (float,), "int": (int, float)}[dimension_type]
        if wanted is not None and wanted not in allowed_types:
            raise self._error(name, f"type = {dimension_type!r} does not fit: it must be {config.describe_range(name)}")
        return {**self._interval(name, table, dimension_type), **condition}

    def _choices(self, name: str, table: Mapping[str, Any]) -> list[config.Value]:
        choices = table.get("choices")
        if not isinstance(choices, list) or not choices:
            raise self._error(name, f"choices = {choices!r} must be a list of at least one value")
        checked = [self._in_range(name, choice) for choice in choices]
        if len(set(checked)) != len(checked):
            raise self._error(name, f"choices = {choices!r} names a value twice")
        return checked

    def _interval(self, name: str, table: Mapping[str, Any], dimension_type: str) -> dict[str, Any]:
        for key in ("low", "high"):
            if key not in table:
                raise self._error(name, f"{key} is missing")
        whole = dimension_type == "int"
        low, high = (self._bound(name, key, table[key], whole) for key in ("low", "high"))
        step, log = table.get("step"), table.get("log", False)
        if not isinstance(log, bool):
            raise self._error(name, f"log = {log!r} must be true or false")
        if low > high:
            raise self._error(name, f"low = {low} is greater than high = {high}")
        if log and low <= 0:
            raise self._error(name, f"log = true needs low > 0, got low = {low}")
        if step is not None:
            if log:
                raise self._error(name, "step and log = true exclude each other; keep one")
            wrong_type = isinstance(step, bool) or not isinstance(step, int if whole else (int, float))
            if wrong_type or not math.isfinite(step) or step <= 0:
                raise self._error(name, f"step = {step!r} must be a {'whole ' if whole else ''}number above 0")
            # Optuna would silently lower `high` to the last step.
            steps = (high - low) / step
            if not math.isclose(steps, round(steps), abs_tol=1e-6):
                last = low + math.floor(steps) * step
                raise self._error(name, f"high = {high} is not low = {low} plus whole steps of {step}; {last} is")
        if name == "kernel_size" and not self.own_network and low != high and (step or 1) % 2:
            raise self._error(name, f"step = {step!r} must be even: kernels have odd sides")
        return {"type": dimension_type, "low": low, "high": high, "log": log, "step": step}

    def _bound(self, name: str, key: str, value: object, whole: bool) -> int | float:
        wanted = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise self._error(name, f"{key} = {value!r} must be a {'whole ' if whole else ''}number")
        checked = self._in_range(name, value, f"{key} = ")
        assert not isinstance(checked, str)
        return checked

    def _in_range(self, name: str, value: object, label: str = "") -> config.Value:
        if self._is_free(name):
            try:
                return config.check_free_value(name, value)
            except UsageError:
                raise self._error(name, f"{label}{value!r} is not a finite number, a text, true or false") from None
        try:
            return config.check_value(name, value)
        except UsageError:
            raise self._error(name, f"{label}{value!r} is not allowed: {config.describe_range(name)}") from None


def _refuse_unknown(source: str, where: str, table: Mapping[str, Any], known: Any) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise UsageError(f"{source}: {where}unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}")
