"""Redis URLs and the password in them: put in where it is needed, taken out where others can read. Pure text."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit


def has_password(url: str) -> bool:
    """Whether `url` holds a password, before the host or among its options. Raises ValueError for a malformed host."""
    parts = urlsplit(url)
    return bool(parts.password) or "password" in dict(parse_qsl(parts.query))


def add_password(url: str, password: str) -> str:
    """`url` with `password` before the host; unchanged if it has one, or cannot be taken apart."""
    try:
        if has_password(url):
            return url
        parts = urlsplit(url)
    except ValueError:
        return url  # who connects says what is wrong with it
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:{quote(password, safe='')}@{host}"))


def strip_password(url: str) -> str:
    """`url` without its password; the user's name stays. Raises ValueError for a malformed host."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    user = user.partition(":")[0]
    options = [(key, value) for key, value in parse_qsl(parts.query) if key != "password"]
    return urlunsplit(parts._replace(netloc=f"{user}{at if user else ''}{host}", query=urlencode(options)))


def host_of(url: str) -> str:
    """The host that `url` names; localhost if it names none, as redis-py has it. Raises ValueError as above."""
    return urlsplit(url).hostname or "localhost"
