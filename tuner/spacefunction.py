"""A search space that a Python function of the user makes: called once, when a search is submitted."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.errors import UsageError, first_line

_NAMED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_function(text: str) -> bool:
    """Whether `text` names a function, as package.module:function, and no file."""
    return _NAMED.fullmatch(text) is not None and not Path(text).exists()


def call_function(text: str) -> Mapping[str, Any]:
    """What the function that `text` names returns: a space document as nested dictionaries.

    Modules of the current folder can be imported too. Raises UsageError in one line, with the error of the user's code
    as its cause, if it cannot be imported, fails, or returns something else.
    """
    module_name, _, function_name = text.partition(":")
    here = str(Path.cwd())
    # `tuner` is a script: Python put its folder on the path, and not the one that the user is in.
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise UsageError(
                f"search space {text}: there is no module {error.name!r}, neither installed nor here"
            ) from error
        raise UsageError(f"search space {text} cannot be imported: {_say(error)}") from error
    except (Exception, SystemExit) as error:  # whatever the user's module does when it is imported
        raise UsageError(f"search space {text} cannot be imported: {_say(error)}") from error
    if not callable(function := getattr(module, function_name, None)):
        raise UsageError(f"search space {text}: {module_name} has no function {function_name!r}")
    try:
        document = function()
    except (Exception, SystemExit) as error:
        raise UsageError(f"search space {text} failed: {_say(error)}; --debug shows where") from error
    if not isinstance(document, Mapping):
        raise UsageError(
            f"search space {text} must return a dictionary with [space] in it, not {type(document).__name__}"
        )
    return document


def _say(error: BaseException) -> str:
    return f"{type(error).__name__}: {first_line(error)}"
