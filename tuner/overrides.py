"""`--set NAME=VALUE`: another range, choice or constant in place of what the chosen space says of one hyperparameter.

| text | what it makes of the hyperparameter |
|---|---|
| `lr=1e-4:1e-1`, `depth=2:5` | a dimension between these bounds; a third number is the step: `width=16:64:16` |
| `lr=log:1e-4:1e-1` | the same on a log scale |
| `optimizer=sgd,adamw`, `width=16,32` | one of these choices |
| `width=32` | a constant |
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tuner.configurations import exists, same
from tuner.errors import UsageError
from tuner.space import Space
from tuner.training.config import Value

_EXAMPLES = "lr=log:1e-4:1e-1, dropout=0:0.5, width=16:64:16, optimizer=sgd,adamw or width=32"


def override(space: Space, texts: Sequence[str]) -> tuple[Space, list[str]]:
    """`space` with each of the `texts` in it, the last one counting of two for the same name; and what else changed.

    Dimensions whose condition can no longer hold go, and a condition that always holds is forgotten. The first
    configuration keeps its values as far as they are in the new space; others move to the nearest value that is.
    Raises UsageError naming the text, the value and the allowed range.
    """
    document = {
        **space.as_dict(),
        "dimensions": dict(space.dimensions),
        "constants": dict(space.constants),
        "start": {},
    }
    notes: list[str] = []
    parsed = {name: (dimension, constant) for name, dimension, constant in (_parse(text, space) for text in texts)}
    for name, (dimension, constant) in parsed.items():
        condition = {"only_if": space.dimensions[name]["only_if"]} if _is_conditional(space, name) else {}
        document["dimensions"].pop(name, None)
        if constant is None:
            if not condition:
                document["constants"].pop(name, None)
            document["dimensions"][name] = {**dimension, **condition}
        else:
            document["constants"][name] = constant
    in_place = [name for name in space.dimensions if name in document["dimensions"]]
    document["dimensions"] = {name: document["dimensions"][name] for name in [*in_place, *document["dimensions"]]}
    notes += _settle_conditions(document["dimensions"], document["constants"])
    if not document["dimensions"]:
        raise UsageError(
            f"--set {' --set '.join(texts)} leaves nothing to search in {space.source}: leave one of them out, or "
            "train the [start] of a space by --fixed"
        )
    changed = _checked(document, texts)
    if space.start:
        start, moved = _fit_start(space, changed)
        notes += moved
        document["start"] = start
        changed = _checked(document, texts)
    return changed, notes


def _checked(document: Mapping[str, Any], texts: Sequence[str]) -> Space:
    try:
        return Space.from_dict(document)
    except UsageError as error:
        raise UsageError(f"--set {' --set '.join(texts)} does not fit: {error}") from None


def _parse(text: str, space: Space) -> tuple[str, dict[str, Any], Value | None]:
    """(name, dimension, None) or (name, {}, constant)."""
    name, equals, value = (part.strip() for part in text.partition("="))
    refusal = UsageError(f"--set {text!r} is not understood: give NAME=VALUE, such as {_EXAMPLES}")
    if not (name and equals and value):
        raise refusal
    log = value.startswith("log:")
    parts = value.removeprefix("log:").split(":")
    if log and len(parts) != 2:
        raise refusal
    if len(parts) == 1:
        choices = [_value(part.strip()) for part in value.split(",")]
        if "" in choices:
            raise refusal
        return (name, {}, choices[0]) if len(choices) == 1 else (name, {"type": "choice", "choices": choices}, None)
    numbers = [_value(part.strip()) for part in parts]
    if len(numbers) > 3 or any(isinstance(number, str) for number in numbers):
        raise refusal
    dimension: dict[str, Any] = {"type": _number_type(name, numbers, space), "low": numbers[0], "high": numbers[1]}
    if log:
        dimension["log"] = True
    if len(numbers) == 3:
        dimension["step"] = numbers[2]
    return name, dimension, None


def _value(text: str) -> Value:
    if text in ("true", "false"):  # as in a space file
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _number_type(name: str, numbers: Sequence[Value], space: Space) -> str:
    """float or int: what the hyperparameter is; for one of the user's own, what the space or the numbers say."""
    default = space.defaults().get(name)
    if default is not None:
        return "int" if isinstance(default, int) else "float"
    table = space.dimensions.get(name, {})
    if table.get("type") in ("int", "float"):
        return str(table["type"])
    known = [*numbers, *table.get("choices", ()), space.constants.get(name, 0)]
    return "float" if any(isinstance(value, float) for value in known) else "int"


def _is_conditional(space: Space, name: str) -> bool:
    return "only_if" in space.dimensions.get(name, {})


def _settle_conditions(dimensions: dict[str, dict[str, Any]], constants: dict[str, Value]) -> list[str]:
    """Make the conditions fit dimensions and constants that were changed; says which dimensions went by that."""
    notes = []
    for name, table in list(dimensions.items()):
        if "only_if" not in table:
            continue
        ((parent, wanted),) = table["only_if"].items()
        rest = {key: value for key, value in table.items() if key != "only_if"}
        if parent not in dimensions:
            if exists(table, constants):
                dimensions[name] = rest
                constants.pop(name, None)  # was for where it did not exist
            else:
                del dimensions[name]
                notes.append(f"{name} is not searched: it exists only with another {parent} than {constants[parent]}")
            continue
        possible = [value for value in wanted if _may_be(value, dimensions[parent])]
        if possible:
            dimensions[name] = {**rest, "only_if": {parent: possible}}
        else:
            del dimensions[name]
            notes.append(f"{name} is not searched: {parent} no longer takes the values with which it exists")
    return notes


def _may_be(value: Value, table: Mapping[str, Any]) -> bool:
    if table["type"] == "choice":
        return any(same(value, choice) for choice in table["choices"])
    return not isinstance(value, str) and same(value, _nearest(value, table))


def _fit_start(old: Space, new: Space) -> tuple[dict[str, Value], list[str]]:
    """The first configuration of `old` in the space `new`, and a note for each value that had to move."""
    before = {**old.defaults(), **old.constants, **old.start}
    start: dict[str, Value] = {}
    notes = []
    order = sorted(new.dimensions, key=lambda name: "only_if" in new.dimensions[name])
    for name in order:
        table = new.dimensions[name]
        if not exists(table, start):
            continue
        value = _nearest(before.get(name), table)
        if name not in before or not same(value, before[name]):
            was = f"{before[name]} is not in the space" if name in before else "it had none"
            notes.append(f"the first configuration has {name} = {value} ({was})")
        start[name] = value
    return {name: start[name] for name in new.dimensions if name in start}, notes


def _nearest(value: Value | None, table: Mapping[str, Any]) -> Value:
    """The value of the dimension that is nearest to `value`; without an order between them, its first or lowest one."""
    if table["type"] == "choice":
        choices: list[Value] = table["choices"]
        numbers = [choice for choice in choices if not isinstance(choice, str)]
        if value is None or isinstance(value, str) or len(numbers) < len(choices):
            return value if value is not None and any(same(value, choice) for choice in choices) else choices[0]
        given = value
        return min(numbers, key=lambda choice: abs(choice - given))
    low, high, step = table["low"], table["high"], table.get("step")
    if value is None or isinstance(value, str):
        return low  # type: ignore[no-any-return]
    inside = min(max(value, low), high)
    if step:
        inside = low + round((inside - low) / step) * step
    return math.floor(inside) if table["type"] == "int" else float(inside)
