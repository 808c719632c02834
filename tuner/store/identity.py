"""Who this process is, in a form that another process, maybe on another machine, can read and check."""

from __future__ import annotations

import getpass
import json
import os
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

YEAR_9999_S = 253_370_764_800  # the last year that a calendar can show, in seconds since 1970

_PROC_STATE = 0  # fields of /proc/<pid>/stat after the command name
_PROC_START = 19


@dataclass(frozen=True)
class Holder:
    """Who holds a lease.

    boot_id, pid_namespace: pids can be compared only between processes that share both (a container has a namespace of
    its own). process_start: clock ticks from boot to the start of the process, to tell it from a later one of that pid.
    since_s: when the lease was taken, seconds since 1970 by Redis's clock.
    """

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    process_start: int
    user: str
    since_s: float

    def to_json(self) -> str:
        """Canonical: equal holders have equal text."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises ValueError or TypeError if `text` was not written by `to_json`."""
        try:
            content = json.loads(text)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        holder = cls(**content)
        texts = (holder.host, holder.boot_id, holder.pid_namespace, holder.user)
        if not all(isinstance(text, str) for text in texts) or not isinstance(holder.process_start, int):
            raise TypeError("an entry of another type")
        # Others would not be understood by the calls that they are given to.
        if not isinstance(holder.pid, int) or not 0 < holder.pid < 2**31:
            raise ValueError(f"pid {holder.pid!r}")
        if not isinstance(holder.since_s, int | float) or not 0 <= holder.since_s < YEAR_9999_S:
            raise ValueError(f"since_s {holder.since_s!r}")
        return holder

    def describe(self) -> dict[str, Any]:
        """What `tuner status --json` says of a driver."""
        return {"host": self.host, "pid": self.pid, "user": self.user, "since_s": self.since_s}

    def is_gone(self) -> bool:
        """Whether the process provably ended. One on another host, boot or namespace cannot be seen: never provable."""
        if (self.host, self.boot_id, self.pid_namespace) != (socket.gethostname(), _boot_id(), _pid_namespace()):
            return False
        return process_start(self.pid) != self.process_start and not _is_hidden(self.pid)

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"process {self.pid} of {self.user} on {self.host} since {since}"


def this_process(since_s: float) -> Holder:
    """This process as a holder since `since_s`."""
    start = process_start(os.getpid())
    assert start is not None, "a running process sees itself in /proc"
    return Holder(
        host=socket.gethostname(),
        boot_id=_boot_id(),
        pid_namespace=_pid_namespace(),
        pid=os.getpid(),
        process_start=start,
        user=user_name(),
        since_s=since_s,
    )


def user_name() -> str:
    """The user's name, or `uid 1234` where the user has none, as in containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def process_start(pid: int) -> int | None:
    """Clock ticks from boot to the start of process `pid`; None if there is no such process, or it ended unreaped."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name stands in parentheses and may itself hold spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return None if fields[_PROC_STATE] in "ZX" else int(fields[_PROC_START])


def _is_hidden(pid: int) -> bool:
    """Whether `pid` lives although /proc does not show it: mounted with hidepid, it hides the processes of others."""
    if Path(f"/proc/{pid}").exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _pid_namespace() -> str:
    return os.readlink("/proc/self/ns/pid")
