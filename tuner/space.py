"""Search spaces: TOML files, checked before anything starts, and their translation to Optuna's distributions.

The format is described in search_spaces/README.md. A `Space` is plain data (JSON-able), so that it can be stored with
the study; workers never read the file.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import UsageError, first_line
from tuner.training import config

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

# What a space file may say about the search itself: key -> (lowest, highest).
SEARCH_KEYS = {"max_epochs": (1, 100_000), "trials": (1, 1_000_000), "grace_period": (1, 100_000)}
SEARCH_KEYS["reduction_factor"] = (2, 16)
# What it may say about the pictures that it is made for.
INPUT_KEYS = {"size": (4, 1024), "channels": (1, 3), "classes": (2, 100_000)}

_DIMENSION_KEYS = {
    "float": {"type", "low", "high", "log", "step"},
    "int": {"type", "low", "high", "log", "step"},
    "choice": {"type", "choices"},
}


@dataclass(frozen=True)
class Space:
    """One search space: `dimensions` are searched, `constants` are fixed, `search` holds defaults of the search.

    dimensions: name -> the checked TOML table, with defaults filled in, e.g.
    {"type": "float", "low": 0.001, "high": 0.3, "log": True, "step": None}.
    start: the first configuration, made by hand: a value for each dimension, in their order; empty without one.
    input: the pictures that it is made for: `size` (side in pixels), `channels`, `classes`, or some of them.
    """

    source: str
    dimensions: dict[str, dict[str, Any]]
    constants: dict[str, config.Value] = field(default_factory=dict)
    search: dict[str, int] = field(default_factory=dict)
    start: dict[str, config.Value] = field(default_factory=dict)
    input: dict[str, int] = field(default_factory=dict)

    def distributions(self) -> dict[str, BaseDistribution]:
        """The dimensions as Optuna's declared distributions, in the file's order."""
        return {name: _distribution(table) for name, table in self.dimensions.items()}

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `Space(**space.as_dict())` is equal, `from_dict` checks what it is given."""
        return {
            "source": self.source,
            "dimensions": self.dimensions,
            "constants": self.constants,
            "search": self.search,
            "start": self.start,
            "input": self.input,
        }

    def only_start(self) -> Space:
        """This space with nothing left in it but its first configuration, for one trial unless somebody asks for more.

        Raises UsageError if it has none.
        """
        if not self.start:
            raise UsageError(f"{self.source} has no [start] table, the configuration that --fixed trains: add one")
        dimensions = {name: {"type": "choice", "choices": [value]} for name, value in self.start.items()}
        return replace(self, dimensions=dimensions, search={**self.search, "trials": 1})

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Space:
        """What `as_dict` gave, checked like a file. Raises UsageError as `load_space` does, KeyError, TypeError."""
        tables = {"space": content["dimensions"], "constants": content["constants"], "search": content["search"]}
        # Studies from before there were such tables have none.
        tables |= {name: content.get(name, {}) for name in ("start", "input")}
        return check_space(tables, source=str(content["source"]))


def shipped_spaces() -> list[str]:
    """Names of the spaces that come with the program, sorted."""
    files = resources.files("tuner.search_spaces").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load_space(name_or_file: str) -> Space:
    """Read and check a shipped space by name, or a TOML file by path.

    Raises UsageError with the file, the key, the value and the allowed range for anything that is wrong in it.
    """
    if name_or_file in shipped_spaces():
        text = (resources.files("tuner.search_spaces") / f"{name_or_file}.toml").read_text(encoding="utf-8")
        return parse_space(text, source=name_or_file)
    path = Path(name_or_file)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        names = ", ".join(shipped_spaces())
        raise UsageError(f"there is no search space {name_or_file!r}: give a TOML file or one of {names}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{name_or_file} cannot be read as a search space: {error}") from None
    return parse_space(text, source=str(path))


def parse_space(text: str, *, source: str) -> Space:
    """Check the TOML `text`; `source` names it in messages. Raises UsageError as `load_space` does."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{source} is not valid TOML: {first_line(error)}") from None
    return check_space(document, source=source)


def check_space(document: Mapping[str, Any], *, source: str) -> Space:
    """Check the tables of a space file, or of a space that was stored. Raises UsageError as `load_space` does."""
    _refuse_unknown(source, "", document, {"space", "constants", "search", "start", "input"})
    for section, content in document.items():
        if not isinstance(content, dict):
            raise UsageError(f"{source}: [{section}] must be a table, not {content!r}")
    if not document.get("space"):
        raise UsageError(f"{source}: [space] is missing or empty; it needs at least one dimension")
    with_source = _Checker(source)
    dimensions = {name: with_source.dimension(name, table) for name, table in document["space"].items()}
    constants = {name: with_source.constant(name, value) for name, value in document.get("constants", {}).items()}
    both = sorted(dimensions.keys() & constants.keys())
    if both:
        raise UsageError(f"{source}: {both[0]} is in [space] and in [constants]; keep one")
    for section, known in (("search", SEARCH_KEYS), ("input", INPUT_KEYS)):
        numbers = document.get(section, {})
        _refuse_unknown(source, f"[{section}] ", numbers, known.keys())
        for key, value in numbers.items():
            low, high = known[key]
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise UsageError(f"{source}: [{section}] {key} = {value!r} must be a whole number from {low} to {high}")
    return Space(
        source=source,
        dimensions=dimensions,
        constants=constants,
        search=document.get("search", {}),
        start=with_source.start(document.get("start", {}), dimensions),
        input=document.get("input", {}),
    )


class _Checker:
    """Checks single entries, putting the file's name before each message."""

    def __init__(self, source: str) -> None:
        self.source = source

    def _error(self, name: str, problem: str) -> UsageError:
        return UsageError(f"{self.source}: {name}: {problem}")

    def constant(self, name: str, value: object) -> config.Value:
        try:
            return config.check_value(name, value)
        except UsageError as error:
            raise UsageError(f"{self.source}: [constants] {error}") from None

    def dimension(self, name: str, table: object) -> dict[str, Any]:
        try:
            wanted = config.kind(name)
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
        if dimension_type == "choice":
            return {"type": "choice", "choices": self._choices(name, table)}
        allowed_types = {"float": (float,), "int": (int, float)}[dimension_type]
        if wanted not in allowed_types:
            raise self._error(name, f"type = {dimension_type!r} does not fit: it must be {config.describe_range(name)}")
        return self._interval(name, table, dimension_type)

    def start(self, values: Mapping[str, Any], dimensions: Mapping[str, dict[str, Any]]) -> dict[str, config.Value]:
        """The first configuration in the order of `dimensions`: all of them, each within its bounds."""
        if not values:
            return {}
        _refuse_unknown(self.source, "[start] ", values, dimensions)
        for name in dimensions:
            if name not in values:
                raise UsageError(f"{self.source}: [start] {name} is missing: it needs a value for each dimension")
        return {name: self._start_value(name, values[name], table) for name, table in dimensions.items()}

    def _start_value(self, name: str, given: object, table: Mapping[str, Any]) -> config.Value:
        try:
            value = config.check_value(name, given)
        except UsageError as error:
            raise UsageError(f"{self.source}: [start] {error}") from None
        if table["type"] == "choice":
            inside, bounds = value in table["choices"], "one of " + ", ".join(map(str, table["choices"]))
        else:
            assert not isinstance(value, str)
            inside = table["low"] <= value <= table["high"]
            bounds = f"from {table['low']} to {table['high']}"
            if table["step"]:
                steps = (value - table["low"]) / table["step"]
                inside = inside and math.isclose(steps, round(steps), abs_tol=1e-6)
                bounds += f" in steps of {table['step']}"
        if not inside:
            raise UsageError(f"{self.source}: [start] {name} = {given!r} is not in the space: it must be {bounds}")
        return value

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
        if name == "kernel_size" and low != high and (step or 1) % 2:
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
        try:
            return config.check_value(name, value)
        except UsageError:
            raise self._error(name, f"{label}{value!r} is not allowed: {config.describe_range(name)}") from None


def _refuse_unknown(source: str, where: str, table: Mapping[str, Any], known: Any) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise UsageError(f"{source}: {where}unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}")


def _distribution(table: Mapping[str, Any]) -> BaseDistribution:
    from optuna import distributions

    if table["type"] == "choice":
        return distributions.CategoricalDistribution(table["choices"])
    if table["type"] == "int":
        return distributions.IntDistribution(table["low"], table["high"], log=table["log"], step=table["step"] or 1)
    return distributions.FloatDistribution(table["low"], table["high"], log=table["log"], step=table["step"])
