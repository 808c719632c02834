"""What one Redis takes when nothing but appends is asked of it: clients that each append a report to their own journal.

    python benchmarks/scale_redis.py URL STUDY SECONDS

appends for so long and prints how many appends were answered. `SERVER` starts a server for `scale.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuner.store import client, lease
from tuner.store.journal import RedisJournal
from tuner.store.server import server_command, socket_path

# What Optuna appends for an epoch with a checkpoint: score, details, the checkpoint and the one before it, the best.
ENTRIES = 5
ENTRY_BYTES = 330


@contextmanager
def server(folder: Path, appendfsync: str) -> Iterator[str]:
    """A redis-server as the program starts its own, but for `appendfsync`; gives its URL."""
    folder.mkdir(mode=0o700)
    process = subprocess.Popen([*server_command(folder), "--appendfsync", appendfsync])
    try:
        while not socket_path(folder).exists():
            time.sleep(0.05)
        yield f"unix://{socket_path(folder)}"
    finally:
        process.terminate()
        process.wait()


def append(url: str, study: str, seconds: float) -> int:
    """Append as a driver does, one report after the other."""
    store = client.connect(url)
    held = lease.acquire(store, study)
    journal = RedisJournal(store, study, held.fence)
    entry = {"text": "x" * (ENTRY_BYTES - len('{"text":""}'))}
    reports, end_s = 0, time.monotonic() + seconds
    while time.monotonic() < end_s:
        journal.append_logs([entry] * ENTRIES)
        reports += 1
    held.release()
    return reports


def appends_per_s(url: str, clients: int, seconds: float, environment: dict[str, str]) -> float:
    """By so many clients at once, each a process."""
    command = [sys.executable, __file__, url]
    running = [
        subprocess.Popen(
            [*command, f"raw-{clients}-{number}-{time.time_ns()}", str(seconds)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for number in range(clients)
    ]
    return sum(json.loads(process.communicate()[0]) for process in running) / seconds


if __name__ == "__main__":
    print(append(sys.argv[1], sys.argv[2], float(sys.argv[3])))
