"""tuner: hyperparameter search for image-classifying CNNs that survives crashes and ships its winner.

What is offered to Python is described in docs/python.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# The function `tuner.search` has the name of a package. Python binds a package's name when it is first imported: now,
# so that the function keeps it afterwards.
import_module("tuner.search")

from tuner.api import load, search, studies  # noqa: E402
from tuner.errors import TunerError  # noqa: E402
from tuner.handle import Study  # noqa: E402

if TYPE_CHECKING:
    from tuner.best import Best
    from tuner.study import TrialRecord

__all__ = ["Best", "Study", "TrialRecord", "TunerError", "__version__", "load", "search", "studies"]


def __getattr__(name: str) -> object:
    # They need numpy, for which `tuner --help` is not to wait.
    if name in ("Best", "TrialRecord"):
        return getattr(import_module("tuner.study"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
