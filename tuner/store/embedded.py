"""A private redis-server for those who name no Redis: one for each TUNER_HOME, shared by all commands, left running.

`<home>/redis` (0700) holds the append-only file, `redis.log`, `redis.pid`, and:

    redis.sock    the socket, unless its path would be too long for one
    socket-path   where the socket is in that case: in a folder (0700) of its own
    start.lock    locked while a process starts or stops the server
    server.lock   locked by the server itself for as long as it lives, since it inherits the descriptor; says who it is

Redis does not protect its files from a second server; `server.lock` does, whatever became of the socket or the pid.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tuner.errors import StoreError
from tuner.store.identity import process_start
from tuner.store.server import is_private, server_command, socket_path

START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 30.0
# Who revives a server asks again anyway: one that reads a long file goes on with that meanwhile.
_REVIVE_DEADLINE_S = 5.0

_POLL_S = 0.02


@dataclass(frozen=True)
class _Owner:
    """Whose server holds `server.lock`."""

    host: str
    pid: int
    process_start: int | None

    def is_here(self) -> bool:
        """Whether that process lives on this machine, and in this container."""
        return self.process_start is not None and process_start(self.pid) == self.process_start


# Servers that this process started. Without a reference Python warns of them; with one, an ended server is reaped.
_children: list[subprocess.Popen[bytes]] = []


def ensure_running(home: Path, within_s: float = START_DEADLINE_S) -> str:
    """The URL of the private server of `home`, which is started if it does not run. Safe to call from many processes.

    Raises StoreError: there is no redis-server, it ends at once, or it does not answer within `within_s` seconds.
    """
    folder = home.absolute() / "redis"
    if _answers(socket_path(folder)):
        return _url(socket_path(folder))
    deadline_s = time.monotonic() + within_s
    try:
        # TUNER_HOME may be a folder that others use as well; only the one inside is ours to close.
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if not is_private(folder):
            folder.chmod(0o700)
        with _locked(folder, deadline_s):
            return _start(folder, deadline_s)
    except OSError as error:
        raise StoreError(f"the private Redis in {folder} cannot be started: {error}") from error


def reviver(home: Path, client: redis.Redis) -> Callable[[], object] | None:
    """What starts the server of `client` again if it dies; None if it is not the private server of `home`.

    It raises StoreError, within seconds: the server lives but does not answer, or cannot be started.
    """
    path = client.connection_pool.connection_kwargs.get("path")
    if path != str(socket_path(home.absolute() / "redis")):
        return None
    return lambda: _revive(home)


def _revive(home: Path) -> None:
    folder = home.absolute() / "redis"
    if _answers(socket_path(folder), timeout_s=1.0):
        return
    if not is_running(home):
        ensure_running(home, _REVIVE_DEADLINE_S)
    elif _owner(folder).is_here() or _owner(folder).host not in ("", socket.gethostname()):
        raise _cannot_reach(folder)  # frozen, or loading its data: there is nothing to start
    # Else it has just ended, and a child of it that rewrites its file may hold the lock for a moment longer.


def is_running(home: Path) -> bool:
    """Whether the private server of `home` lives, be it still loading its data."""
    return _is_locked(home / "redis" / "server.lock")


def stop(home: Path) -> bool:
    """Stop the private server of `home` and wait until it has ended; what it holds is on disk. False if none ran.

    Raises StoreError if it has not ended after 30 s, or runs on another machine that shares the folder.
    """
    folder = home / "redis"
    if not is_running(home):
        return False
    deadline_s = time.monotonic() + STOP_DEADLINE_S
    with _locked(folder, deadline_s):
        while is_running(home):
            if time.monotonic() > deadline_s:
                raise StoreError(f"the private Redis in {folder} does not end; {_last_words(folder)}")
            # Asked again and again, because it refuses while it rewrites its file for the first time.
            _ask_to_end(folder)
            time.sleep(_POLL_S)
    _reap()
    return True


def _ask_to_end(folder: Path) -> None:
    try:
        with _client(socket_path(folder)) as client:
            client.ping()  # shutdown() takes a refused connection for success
            client.shutdown()
    except RedisError:
        # Its socket was deleted under it, or it hangs.
        owner = _owner(folder)
        if owner.is_here():
            with suppress(ProcessLookupError):
                os.kill(owner.pid, signal.SIGTERM)
        elif owner.host != socket.gethostname() and _is_locked(folder / "server.lock"):
            raise _cannot_reach(folder) from None
        # Else it has just ended, and a child of it that rewrites its file may hold the lock for a moment longer.


def _start(folder: Path, deadline_s: float) -> str:
    """Start the server unless it lives, and wait until it answers. The caller holds the start lock."""
    child = None
    while not _answers(socket_path(folder)):
        if child is not None and child.poll() is not None:
            raise StoreError(f"redis-server ended with status {child.returncode}; {_last_words(folder)}")
        if time.monotonic() > deadline_s:
            raise _cannot_reach(folder)
        if child is None:
            child = _spawn(folder)
        if child is None and _owner(folder).host not in ("", socket.gethostname()):
            raise _cannot_reach(folder)
        time.sleep(_POLL_S)
    return _url(socket_path(folder))


def _spawn(folder: Path) -> subprocess.Popen[bytes] | None:
    """Start a server; None if one lives."""
    with open(folder / "server.lock", "a", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        child = subprocess.Popen(
            server_command(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            # Ctrl-C and the end of the terminal must not reach a server that other commands use.
            start_new_session=True,
            pass_fds=[lock.fileno()],
        )
        lock.truncate(0)
        lock.write(json.dumps(asdict(_Owner(socket.gethostname(), child.pid, process_start(child.pid)))))
    _children.append(child)
    return child


@contextmanager
def _locked(folder: Path, deadline_s: float) -> Iterator[None]:
    """Hold the start lock of `folder`. Raises StoreError if another process holds it until the deadline."""
    with open(folder / "start.lock", "a", encoding="utf-8") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    raise StoreError(
                        f"another process has been starting or stopping the private Redis in {folder} for long; "
                        f"{_last_words(folder)}"
                    ) from None
            time.sleep(_POLL_S)
        yield


def _is_locked(path: Path) -> bool:
    try:
        with open(path, encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _client(path: Path, timeout_s: float = 5.0) -> redis.Redis:
    return redis.Redis(
        unix_socket_path=str(path), socket_timeout=timeout_s, retry=Retry(NoBackoff(), 0), decode_responses=True
    )


def _answers(path: Path, timeout_s: float = 5.0) -> bool:
    """Whether a server that has loaded its data listens there."""
    try:
        with _client(path, timeout_s) as client:
            return bool(client.ping())
    except RedisError:
        return False


def _url(path: Path) -> str:
    return f"unix://{quote(str(path))}"


def _owner(folder: Path) -> _Owner:
    try:
        return _Owner(**json.loads((folder / "server.lock").read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError):
        # Nobody yet, or its starter was killed before it had written this.
        return _Owner("", 0, None)


def _cannot_reach(folder: Path) -> StoreError:
    owner = _owner(folder)
    if not owner.is_here():
        return StoreError(
            f"the private Redis in {folder} runs on {owner.host or 'another machine'}, where alone it can be reached: "
            "use it there, set TUNER_HOME to a folder of this machine, or share a server by `--redis URL`"
        )
    return StoreError(
        f"the private Redis in {folder} (process {owner.pid}) does not answer; {_last_words(folder)}; wait if it is "
        "loading, else `tuner store stop` and try again"
    )


def _last_words(folder: Path) -> str:
    log = folder / "redis.log"
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return f"it wrote no {log}"
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    return f"the last line of {log} is: {last}"


def _reap() -> None:
    _children[:] = [child for child in _children if child.poll() is None]
