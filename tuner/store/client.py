"""A connection to a Redis that is safe to search on: it answers, keeps what it is given, and never evicts."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.connection import parse_url
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry

from tuner.errors import StoreError, StoreUnavailable
from tuner.network import is_loopback

# Nothing that the program stores comes near it, but for what somebody else planted.
LARGEST_VALUE = 1 << 20

# What each setting must be, and the command that sets it.
_REQUIRED = {"appendonly": "yes", "maxmemory-policy": "noeviction"}


def connect(url: str, *, insecure: bool = False, timeout_s: float = 5.0) -> redis.Redis:
    """Connect to the Redis at `url` (redis://, rediss:// or unix://) and check that it keeps what it is given.

    `timeout_s` bounds connecting and each later command. The client answers in `str`. It does not retry by itself:
    only the caller knows which of its commands may run twice.

    Raises StoreError, never showing the password: the URL is no Redis URL, or, unless `insecure`, leads beyond this
    machine without a password; nothing answers, the password is wrong, or the server may lose data (`appendonly` is not
    `yes`, or `maxmemory-policy` is not `noeviction`).
    """
    options = _options(url)
    place = _place(options)
    if not insecure:
        _refuse_open(options, place)
    try:
        client = redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            # Nothing here needs RESP3, and proxies and managed services do not all speak it.
            protocol=2,
        )
        client.ping()
    except AuthenticationError:
        raise StoreError(
            f"Redis at {place} refuses the user name or password; put the right ones into the URL: "
            "redis://user:password@host:port, or the password into TUNER_REDIS_PASSWORD"
        ) from None
    except RedisError as error:
        raise StoreError(
            f"Redis at {place} does not answer: {_one_line(error)}; is it running, and is the URL right?"
        ) from error
    except (TypeError, ValueError):
        # From an unknown or malformed option after "?"; its text may quote the URL, password and all.
        raise _unusable_url(f"its options cannot be used to reach {place}") from None
    try:
        _check_settings(client, place)
    except StoreError:
        client.close()
        raise
    return client


@contextmanager
def redis_errors(doing: str) -> Iterator[None]:
    """Turn what Redis raises inside the block into a StoreError that names what was being done.

    It is a StoreUnavailable where the same command may succeed later: Redis is away, loading its data or failing over,
    or takes no writes until somebody gives it memory or disk.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise StoreError(
            f"Redis failed while {doing}: it holds bytes that are not text ({error.object[:40]!r}), which tuner never "
            "writes; something else wrote there, or its file was damaged"
        ) from None
    except RedisError as error:
        kind, what_to_do = _kind(error)
        raise kind(f"Redis failed while {doing}: {_one_line(error)}{what_to_do}") from error


def _kind(error: RedisError) -> tuple[type[StoreError], str]:
    """The class of error that it is to us, and what the user can do about it."""
    text = str(error)
    # A script that was refused memory says so in the middle of its message (Redis 6).
    if isinstance(error, OutOfMemoryError) or "OOM command not allowed" in text:
        return StoreUnavailable, "; give it more memory: CONFIG SET maxmemory BYTES"
    if "MISCONF" in text:
        return StoreUnavailable, "; it cannot write its file: free disk space where it keeps its data"
    if isinstance(error, AuthenticationError) or text.startswith(("NOAUTH", "WRONGPASS")):
        return StoreError, "; its password was changed: put the right one into the URL"
    away = isinstance(error, (ConnectionError, TimeoutError, ReadOnlyError))
    return StoreUnavailable if away else StoreError, ""


def get_text(client: redis.Redis, key: str, what: str) -> str | None:
    """The string at `key`, None if there is none. Raises StoreError, naming `what`, if Redis fails or it is no text."""
    with redis_errors(f"reading {what}"):
        text = client.get(key)
    if text is not None and len(text) > LARGEST_VALUE:
        raise StoreError(f"{what} cannot be read: {key} holds {len(text)} characters, more than {LARGEST_VALUE}")
    return None if text is None else str(text)


def load_script(client: redis.Redis, filename: str) -> Script:
    """The Lua script `filename` of this package, called with keys and arguments; sent to the server on first use."""
    source = importlib.resources.files("tuner.store").joinpath(filename).read_text(encoding="utf-8")
    return client.register_script(source)


def server_time_s(client: redis.Redis) -> float:
    """Seconds since 1970 by the server's clock: the only clock that all writers of a study share."""
    seconds, microseconds = client.time()
    return seconds + microseconds / 1e6


def _options(url: str) -> dict[str, Any]:
    """What `url` says, taken apart. Raises StoreError if it is no Redis URL."""
    scheme = re.match(r"([a-z]+)://", url)
    if scheme is None or scheme[1] not in ("redis", "rediss", "unix"):
        raise _unusable_url(f"it begins with {scheme[0]}" if scheme else "it has no scheme")
    try:
        options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:
        raise _unusable_url("its port or one of its options is malformed") from None
    if scheme[1] == "unix" and not options.get("path"):
        raise _unusable_url("it names no socket")
    return options


def _place(options: dict[str, Any]) -> str:
    """Where it is, without user and password, for messages."""
    return str(options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}")


def _refuse_open(options: dict[str, Any], place: str) -> None:
    """Raises StoreError for a Redis in the network that asks for neither a password nor a certificate."""
    if options.get("path") or options.get("password") or options.get("ssl_certfile"):
        return
    if not is_loopback(options.get("host", "localhost")):
        raise StoreError(
            f"Redis at {place} is beyond this machine and the URL has no password: whoever reaches that port could "
            "read and change every study; give it one (`requirepass`, and here in TUNER_REDIS_PASSWORD), "
            "or allow it by --insecure"
        )


def _unusable_url(why: str) -> StoreError:
    return StoreError(
        f"the Redis URL cannot be used: {why}; write redis://user:password@host:port/db, "
        "rediss://... for TLS, or unix:///path/to/socket"
    )


def _check_settings(client: redis.Redis, place: str) -> None:
    found = _settings(client, place)
    wrong = {name: value for name, value in found.items() if value != _REQUIRED[name]}
    if wrong:
        states = " and ".join(f"{name} is {value!r}, not {_REQUIRED[name]!r}" for name, value in wrong.items())
        commands = "; ".join(f"CONFIG SET {name} {_REQUIRED[name]}" for name in wrong)
        raise StoreError(f"Redis at {place} may lose studies: {states}; mend it with: {commands}; CONFIG REWRITE")


def _settings(client: redis.Redis, place: str) -> dict[str, str]:
    try:
        return {name: str(client.config_get(name).get(name)) for name in _REQUIRED}
    except (NoPermissionError, ResponseError):
        pass  # Managed services and careful administrators forbid CONFIG; INFO tells the same.
    except RedisError as error:
        raise StoreError(f"Redis at {place} stopped answering: {_one_line(error)}") from error
    try:
        persistence, memory = client.info("persistence"), client.info("memory")
    except RedisError as error:
        raise StoreError(
            f"Redis at {place} does not let this user check that it keeps its data ({_one_line(error)}); "
            "allow it CONFIG GET or INFO"
        ) from error
    appendonly = "yes" if str(persistence.get("aof_enabled")) == "1" else "no"
    return {"appendonly": appendonly, "maxmemory-policy": str(memory.get("maxmemory_policy"))}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
