"""How far a search got that is refused before anything of it starts."""

from __future__ import annotations

import pytest

from tuner.errors import DataError


class RayStarted(Exception):
    """The program got as far as starting Ray."""


def refused(run, *arguments, **options):
    """The one line with which something is refused."""
    with pytest.raises(DataError) as caught:
        run(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
