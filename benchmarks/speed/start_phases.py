"""Where the seconds of a start went, from what it leaves behind anyway: when processes were born, when files were
written, Redis's clock and the journal. Linux only.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from redis import Redis

from tuner.store import catalog
from tuner.store.journal import RedisJournal
from tuner.study import ENVIRONMENT

_TICKS = os.sysconf("SC_CLK_TCK")
_RAYLET, _GCS = "raylet/raylet ", "gcs/gcs_server "
# A part of its command line -> what to call a process; the first that fits.
_GROUPS = {
    "tuner search": "the driver",
    "redis-server": "Redis",
    _RAYLET: "Ray's other processes",  # the command lines of its agents are in its own
    "dashboard": "Ray's dashboard and agents",
    "Agent": "Ray's dashboard and agents",
    "ray::": "processes for trials",
    "": "Ray's other processes",
}


@dataclass(frozen=True)
class Process:
    """born_s: seconds since 1970, to a tick. used_s: of processors, so far."""

    command: str
    parent: int
    born_s: float
    used_s: float


def processes(root: int, *more: int) -> dict[int, Process]:
    """The process `root`, what descends from it and lives, and `more`; by process id."""
    # The kernel tells births since the machine was started.
    machine_born_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    found: dict[int, Process] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(") ")[2].split()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended
        used_s, born_s = (int(fields[11]) + int(fields[12])) / _TICKS, int(fields[19]) / _TICKS
        found[int(folder.name)] = Process(command, int(fields[1]), machine_born_s + born_s, used_s)

    def belongs(pid: int) -> bool:
        while pid in found and pid not in (root, *more):
            pid = found[pid].parent
        return pid in found

    return {pid: process for pid, process in found.items() if belongs(pid)}


def phases(client: Redis, study: str, home: Path, search: int, started_s: float, reported_s: float) -> dict[str, float]:
    """Phase -> seconds, in their order; they add up to the whole. Called as soon as the first epoch is reported.

    search: the process of the command, typed at `started_s`, seconds since 1970.
    """
    server = int((home / "redis" / "redis.pid").read_text())
    living = processes(search, server)
    entries = RedisJournal(client, study).read_logs(0)
    created_s = next(when for name, when, _ in catalog.list_studies(client) if name == study)
    ends = [
        ("Python and the command line", living[server].born_s),
        ("starting Redis, decoding the data set", max(path.stat().st_mtime for path in home.rglob("meta.json"))),
        ("importing Ray", _born(living, _GCS)),
        ("Ray: its control store and its dashboard", _born(living, _RAYLET)),
        ("Ray: its node, and joining it", created_s),
        ("importing Tune, Optuna and the driver", float(_value(entries, ENVIRONMENT)["started_s"])),
        ("the first configuration", _first_trial_s(entries)),
    ]
    report = _value(entries, "report:1")
    ends += [
        ("Tune's start, and a process that is ready for a trial", reported_s - report["used_s"]),
        ("that process: importing torch, reading the data, building the network", reported_s - report["seconds"]),
        ("the first epoch", reported_s),
    ]
    found, before_s = {}, started_s
    for name, end_s in ends:
        found[name] = end_s - before_s
        before_s = end_s
    return found


def processor_time(search: int, home: Path) -> dict[str, float]:
    """Kind of process -> seconds of processors so far, of all that live."""
    found: dict[str, float] = {}
    for process in processes(search, int((home / "redis" / "redis.pid").read_text())).values():
        group = next(name for part, name in _GROUPS.items() if part in process.command)
        found[group] = found.get(group, 0.0) + process.used_s
    return found


def _born(living: dict[int, Process], part: str) -> float:
    return min(process.born_s for process in living.values() if part in process.command)


def _value(entries: list[dict[str, Any]], key: str) -> Any:
    """The first value of an attribute whose name begins so, of the study or of a trial."""
    attributes = (entry.get("user_attr") or entry.get("system_attr") or {} for entry in entries)
    return next(value for one in attributes for name, value in one.items() if name.startswith(key))


def _first_trial_s(entries: list[dict[str, Any]]) -> float:
    return next(
        datetime.fromisoformat(entry["datetime_start"]).timestamp() for entry in entries if "datetime_start" in entry
    )
