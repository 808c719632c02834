"""The entries of a journal as text: JSON objects of limited size."""

from __future__ import annotations

import json
from typing import Any

import orjson

from tuner.errors import StoreError
from tuner.store.client import LARGEST_VALUE


def encode(log: dict[str, Any]) -> str:
    """One entry as text, the same for the same content. Raises what `Journal.append_logs` does."""
    text = _ENCODER.encode(log)
    if len(text) > LARGEST_VALUE:
        raise StoreError(
            f"an entry of {len(text)} bytes is too large for the journal: at most {LARGEST_VALUE} are allowed; it "
            f"begins with {text[:100]!r}"
        )
    return text


def decode(text: str, index: int) -> dict[str, Any]:
    """The entry with this `index` again. Raises StoreError if it is none."""
    if len(text) > LARGEST_VALUE:
        raise StoreError(
            f"entry {index} of the journal has {len(text)} characters, more than {LARGEST_VALUE}: it is none of "
            "tuner's; the study cannot be read"
        )
    try:
        entry = orjson.loads(text)  # a study of 10,000 trials has half a million entries
    except orjson.JSONDecodeError:
        entry = _decoded_by_python(text)
    if not isinstance(entry, dict):
        raise StoreError(
            f"entry {index} of the journal is not a JSON object but {text[:100]!r}; the study cannot be read"
        )
    return entry


def _decoded_by_python(text: str) -> Any:
    """What orjson refuses and this program writes: halves of surrogate pairs, of file names that are not UTF-8."""
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


# For all entries: `json.dumps` and `json.loads` make one for each call that has options.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
