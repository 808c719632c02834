"""Which studies there are: create, find, list, delete, and ask to stop."""

from __future__ import annotations

import itertools
import json

import redis

from tuner.errors import StoreError, StudyExists, StudyNotFound, UsageError
from tuner.store.client import get_text, load_script, redis_errors, server_time_s
from tuner.store.identity import YEAR_9999_S, user_name
from tuner.store.keys import CREATED, NAME_LENGTH, STUDIES, StudyKeys, check_name
from tuner.store.lease import STOP, STOP_NOW, dead_holder, holder, lease_held

_NAMES_IN_AN_ERROR = 5


def create_study(client: redis.Redis, name: str, spec_json: str) -> None:
    """Record a new study, whole or not at all. Raises StudyExists, StoreError if Redis fails."""
    keys = StudyKeys(name)
    script = load_script(client, "create.lua")
    with redis_errors(f"creating study {name!r}"):
        # No clock orders them: it may be set back between two.
        row = {"created_s": server_time_s(client), "order": client.incr(CREATED), "user": user_name()}
        created = json.dumps(row, sort_keys=True)
        is_new = script([keys.spec, STUDIES], [name, spec_json, created])
    if not is_new:
        raise _exists(name)


def refuse_existing(client: redis.Redis, name: str) -> None:
    """Raises what `create_study` would, before anything is prepared in vain."""
    with redis_errors(f"looking for study {name!r}"):
        if client.exists(StudyKeys(name).spec):
            raise _exists(name)


def read_spec(client: redis.Redis, name: str) -> str:
    """The spec's JSON as `create_study` got it. Raises StudyNotFound, StoreError if Redis fails."""
    spec = get_text(client, StudyKeys(name).spec, f"the spec of study {name!r}")
    if spec is None:
        raise _not_found(client, name)
    return spec


def list_studies(client: redis.Redis) -> list[tuple[str, float, str]]:
    """(name, created, user) of all studies, in the order in which they were created.

    created: seconds since 1970 by Redis's clock, for people to read; it may have been set back between two studies.
    Raises StoreError if Redis fails or a record cannot be read.
    """
    with redis_errors("listing the studies"):
        rows = client.hgetall(STUDIES)
    studies = []
    for name, text in rows.items():
        try:
            row = json.loads(text)
            created_s, user = float(row["created_s"]), str(row["user"])
            if not 0 <= created_s < YEAR_9999_S:
                raise ValueError(created_s)
            order = int(row.get("order", 0))  # records of the first versions have none
            studies.append((order, check_name(str(name)), created_s, user))
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError, UsageError):
            raise StoreError(
                f"the record of study {str(name)[:100]!r} in {STUDIES} cannot be read: {str(text)[:100]!r}"
            ) from None
    studies.sort(key=lambda study: (study[0], study[2], study[1]))
    return [study[1:] for study in studies]


def newest(client: redis.Redis) -> str:
    """The name of the study created last. Raises StudyNotFound if there is none."""
    studies = list_studies(client)
    if not studies:
        raise _not_found(client, None)
    return studies[-1][0]


def free_name(client: redis.Redis, base: str) -> str:
    """The first of `base`, `base-2`, `base-3`... that no study has. Raises UsageError if `base` cannot name a study."""
    base = check_name(base[:NAME_LENGTH])
    for number in itertools.count(1):
        suffix = "" if number == 1 else f"-{number}"
        keys = StudyKeys(base[: NAME_LENGTH - len(suffix)] + suffix)
        with redis_errors("choosing a name"):
            if not client.exists(keys.spec):
                return keys.name
    raise AssertionError("numbers do not end")


def delete_study(client: redis.Redis, name: str) -> None:
    """Delete all of a study but its fence, which a suspended driver could otherwise hold again.

    Raises StudyNotFound, LeaseHeld while a driver may be running it, StoreError if Redis fails.
    """
    keys = StudyKeys(name)
    read_spec(client, name)
    script = load_script(client, "delete.lua")
    with redis_errors(f"deleting study {name!r}"):
        state, *rest = script(
            [keys.spec, keys.journal, keys.lease, keys.control, keys.fence, STUDIES, keys.job, keys.snapshot],
            [name, dead_holder(client, keys)],
        )
    if state == "held":
        raise lease_held(name, *rest)


def request_stop(client: redis.Redis, name: str, now: bool) -> bool:
    """Ask the driver of a study to stop: after the running trials' epochs, or `now`. It reads that within 2 s.

    Returns False, and asks nothing, if no driver runs the study. Raises StudyNotFound, StoreError if Redis fails.
    """
    keys = StudyKeys(name)
    read_spec(client, name)
    if holder(client, name) is None:
        return False
    with redis_errors(f"asking study {name!r} to stop"):
        client.set(keys.control, STOP_NOW if now else STOP)
    return True


def _exists(name: str) -> StudyExists:
    return StudyExists(
        f"there is a study {name!r} already; go on with it by `tuner resume {name}`, or choose another --name"
    )


def _not_found(client: redis.Redis, name: str | None) -> StudyNotFound:
    names = [study[0] for study in reversed(list_studies(client))]
    if not names:
        missing = "there is no study yet" if name is None else f"there is no study {name!r}, nor any other"
        return StudyNotFound(f"{missing}; start one with `tuner search digits`")
    shown = ", ".join(names[:_NAMES_IN_AN_ERROR]) + (", ..." if len(names) > _NAMES_IN_AN_ERROR else "")
    return StudyNotFound(f"there is no study {name!r}; there are {shown} (newest first)")
