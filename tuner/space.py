"""Search spaces: TOML files, checked before anything starts, and their translation to Optuna's distributions.

The format is described in search_spaces/README.md. A `Space` is plain data (JSON-able), so that it can be stored with
the study; workers never read the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import UsageError, first_line
from tuner.spacechecks import check_tables
from tuner.spacefunction import call_function, is_function
from tuner.training import config
from tuner.training.modelspec import is_own

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class Space:
    """One search space: `dimensions` are searched, `constants` are fixed, `search` holds defaults of the search.

    dimensions: name -> the checked TOML table, with defaults filled in, e.g.
    {"type": "float", "low": 0.001, "high": 0.3, "log": True, "step": None}; of one that exists only where another one
    has certain values also "only_if": {"optimizer": ["sgd"]}.
    start: the first configuration, made by hand: a value for each dimension that exists in it, in their order; empty
    without one.
    input: the pictures that it is made for: `size` (side in pixels), `channels`, `classes`, or some of them.
    model: the network that it is for, such as "torchvision:resnet18" or "package.module:function"; empty: the built-in.
    """

    source: str
    dimensions: dict[str, dict[str, Any]]
    constants: dict[str, config.Value] = field(default_factory=dict)
    search: dict[str, int] = field(default_factory=dict)
    start: dict[str, config.Value] = field(default_factory=dict)
    input: dict[str, int] = field(default_factory=dict)
    model: str = ""

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
            "model": self.model,
        }

    def defaults(self) -> dict[str, config.Value]:
        """What the hyperparameters are that the space does not name; what a function of the user's makes of those of
        the built-in network that it is not given is its own business."""
        own = is_own(self.model)
        known = config.Hyperparameters().as_dict()
        return {name: value for name, value in known.items() if not (own and config.is_free(name))}

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
        tables |= {name: content.get(name, {}) for name in ("start", "input")} | {"model": content.get("model", "")}
        return check_space(tables, source=str(content["source"]))


def shipped_spaces() -> list[str]:
    """Names of the spaces that come with the program, sorted."""
    files = resources.files("tuner.search_spaces").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load_space(name_or_file: str, model: str = "") -> Space:
    """Read and check a shipped space by name, a TOML file by path, or what the function package.module:function makes.

    model: takes the place of the file's. Raises UsageError with the file, the key, the value and the allowed range for
    anything that is wrong in it.
    """
    if name_or_file in shipped_spaces():
        text = (resources.files("tuner.search_spaces") / f"{name_or_file}.toml").read_text(encoding="utf-8")
        return parse_space(text, source=name_or_file, model=model)
    if is_function(name_or_file):
        return check_space({**call_function(name_or_file), **_named(model)}, source=name_or_file)
    path = Path(name_or_file)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        names = ", ".join(shipped_spaces())
        raise UsageError(
            f"there is no search space {name_or_file!r}: give a TOML file, package.module:function or one of {names}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{name_or_file} cannot be read as a search space: {error}") from None
    return parse_space(text, source=str(path), model=model)


def parse_space(text: str, *, source: str, model: str = "") -> Space:
    """Check the TOML `text`; `source` names it in messages. Raises UsageError as `load_space` does."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{source} is not valid TOML: {first_line(error)}") from None
    return check_space({**document, **_named(model)}, source=source)


def _named(model: str) -> dict[str, str]:
    return {"model": model} if model else {}


def check_space(document: Mapping[str, Any], *, source: str) -> Space:
    """Check the tables of a space file, or of a space that was stored. Raises UsageError as `load_space` does."""
    return Space(source=source, **check_tables(document, source=source))


def _distribution(table: Mapping[str, Any]) -> BaseDistribution:
    from optuna import distributions

    if table["type"] == "choice":
        return distributions.CategoricalDistribution(table["choices"])
    if table["type"] == "int":
        return distributions.IntDistribution(table["low"], table["high"], log=table["log"], step=table["step"] or 1)
    return distributions.FloatDistribution(table["low"], table["high"], log=table["log"], step=table["step"])
