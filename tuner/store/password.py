"""The password of Redis where it is not in the URL: in a variable of the environment, or in a file that one names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tuner.errors import UsageError
from tuner.store.urls import add_password

REDIS_VARIABLE = "TUNER_REDIS"
PASSWORD_VARIABLE = "TUNER_REDIS_PASSWORD"
PASSWORD_FILE_VARIABLE = "TUNER_REDIS_PASSWORD_FILE"
SECRET_VARIABLES = (REDIS_VARIABLE, PASSWORD_VARIABLE)
"""What no process that is started for a search, such as Ray's, has any business with."""


def with_password(url: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """`url` with the environment's password if it has none of its own. Raises UsageError for an unreadable file."""
    password = environment.get(PASSWORD_VARIABLE) or None
    file = environment.get(PASSWORD_FILE_VARIABLE)
    if url is not None and password is None and file:
        try:
            password = Path(file).read_text(encoding="utf-8").strip("\r\n") or None
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise UsageError(f"{PASSWORD_FILE_VARIABLE} names {file}, which cannot be read: {reason}") from None
    return url if url is None or password is None else add_password(url, password)
