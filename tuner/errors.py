"""The exceptions that users meet: each is one line that says what is wrong and what to do about it.

Everything that a user, a full disk or an absent server can cause is a `TunerError`; the command line prints its text
and exits with its `exit_code`. Our own mistakes are ordinary Python exceptions.
"""

from __future__ import annotations


class TunerError(Exception):
    """Base of all errors that have one clear line for the user. `exit_code` is the process's exit status."""

    exit_code = 1


class UsageError(TunerError):
    """The command, an option, a space file or a value in it is wrong; the user can fix it by typing something else."""

    exit_code = 2


class DataError(TunerError):
    """A data set is absent, unreadable, changed, or not usable for classification."""


class StoreError(TunerError):
    """Redis is unreachable, refuses, is configured so that it would lose data, or holds something unreadable."""


class StoreUnavailable(StoreError):
    """Redis does not answer, or takes no writes for now; the same command may succeed later. 69 is EX_UNAVAILABLE."""

    exit_code = 69


class StudyNotFound(TunerError):
    """No study of that name is in the store."""


class StudyExists(TunerError):
    """A study of that name is already in the store."""


class LeaseHeld(TunerError):
    """Another living driver runs the study."""


class LeaseLost(TunerError):
    """This driver's lease expired or was taken over; nothing that it writes is accepted any more."""


class CheckpointError(TunerError):
    """A checkpoint is missing, or its bytes are not those that the journal vouches for."""


class ClusterError(TunerError):
    """Ray cannot be reached, or has not what the search needs."""


class Interrupted(TunerError):
    """Ctrl-C while a search was being left; its study is in the store."""

    exit_code = 130


class ExportError(TunerError):
    """There is nothing to export, or the exported model does not agree with the trained one."""


def first_line(error: BaseException, *, limit: int = 300) -> str:
    """The first line of an error's text, at most `limit` characters, or its class's name if it has no text."""
    lines = str(error).strip().splitlines()
    return lines[0][:limit] if lines else type(error).__name__
