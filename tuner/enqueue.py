"""`--enqueue FILE`: configurations that are to be tried before anything else, as [[trial]] tables in TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuner.configurations import check_configuration, exists
from tuner.errors import UsageError, first_line
from tuner.space import Space
from tuner.training.config import Value


def read_configurations(path: Path) -> tuple[dict[str, Any], ...]:
    """The tables of the file, in its order; what is in them is checked by `in_space`. Raises UsageError."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"--enqueue {path} is not valid TOML: {first_line(error)}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"--enqueue {path} cannot be read: {reason}") from None
    tables = document.pop("trial", None)
    if document or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UsageError(
            f"--enqueue {path} must hold [[trial]] tables and nothing else, each with values such as lr = 0.1"
        )
    return tuple(tables)


def in_space(configurations: Sequence[Mapping[str, Any]], space: Space) -> tuple[dict[str, Value], ...]:
    """Each configuration checked, and completed from the space's [start] where it has one.

    What is missing then is for the sampler. Raises UsageError with the number of the configuration, the name, the value
    and the bounds.
    """
    return tuple(_in_space(number, given, space) for number, given in enumerate(configurations, start=1))


def _is_held(name: str, value: Any, space: Space) -> bool:
    """Whether the space has this value for every trial. Raises UsageError if it has another one."""
    if name not in space.constants:
        return False
    if value != space.constants[name]:
        raise UsageError(
            f"{name} = {value!r}, but this space has {name} = {space.constants[name]!r} for every trial: leave it out, "
            f"or let the search choose (--set {name}=...)"
        )
    return True


def _in_space(number: int, given: Mapping[str, Any], space: Space) -> dict[str, Value]:
    tables = space.dimensions
    always = {name: value for name, value in space.start.items() if "only_if" not in tables[name]}
    try:
        given = {name: value for name, value in given.items() if not _is_held(name, value, space)}
        values = check_configuration({**always, **given}, tables, complete=False)
        rest = {name: value for name, value in space.start.items() if exists(tables[name], values)}
        return check_configuration({**rest, **values}, tables, complete=False)
    except UsageError as error:
        raise UsageError(f"--enqueue: [[trial]] {number}: {error}") from None
