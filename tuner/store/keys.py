"""Every key that the program keeps in Redis.

Whoever adds a key adds its row: a test compares this table with a store that was used.

    key                   type    writer                        lifetime
    tuner:studies         hash    create_study, delete_study    one field a study, until `tuner delete`
    tuner:created         string  create_study                  for ever: a counter that orders the studies
    tuner:{name}:spec     string  create_study                  until `tuner delete`; never changed
    tuner:{name}:journal  list    the driver (append.lua)       until `tuner delete`; only ever appended to
    tuner:{name}:snapshot string  the driver (snapshot.lua)     until `tuner delete`; a cache, written anew now and then
    tuner:{name}:lease    string  the driver (acquire, renew)   expires 30 s after the last renewal
    tuner:{name}:fence    string  acquire.lua, delete.lua       for ever: a counter that must never restart
    tuner:{name}:control  string  request_stop, by any client   until the next lease, or `tuner delete`
    tuner:{name}:job      string  the driver, at its start      until another driver, or `tuner delete`

The braces are part of the key: all keys of one study share a Redis Cluster slot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tuner.errors import UsageError

STUDIES = "tuner:studies"
CREATED = "tuner:created"
NAME_LENGTH = 64

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


def check_name(name: str) -> str:
    """Return `name`, or raise UsageError if it cannot name a study."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a study: a name is 1 to {NAME_LENGTH} of the characters a-z 0-9 _ . - "
            "and begins with a letter or a digit"
        )
    return name


@dataclass(frozen=True)
class StudyKeys:
    """The keys of the study `name`. Raises UsageError if that is no name."""

    name: str

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def spec(self) -> str:
        return self._key("spec")

    @property
    def journal(self) -> str:
        return self._key("journal")

    @property
    def snapshot(self) -> str:
        return self._key("snapshot")

    @property
    def lease(self) -> str:
        return self._key("lease")

    @property
    def fence(self) -> str:
        return self._key("fence")

    @property
    def control(self) -> str:
        return self._key("control")

    @property
    def job(self) -> str:
        return self._key("job")

    def _key(self, what: str) -> str:
        return f"tuner:{{{self.name}}}:{what}"
