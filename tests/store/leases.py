"""Holders of a lease that are gone or far away."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import redis

from tuner.store import identity
from tuner.store.keys import StudyKeys

KEYS = StudyKeys("s")


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.slept.append(seconds)


def dead_process() -> identity.Holder:
    """A holder on this machine whose process has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        start = identity.process_start(child.pid)
        assert start is not None
        child.kill()
    return dataclasses.replace(identity.this_process(0.0), pid=child.pid, process_start=start)


def remote_process() -> identity.Holder:
    return dataclasses.replace(identity.this_process(0.0), host="far", pid=77, user="ann")


def unreachable() -> redis.Redis:
    return redis.Redis(unix_socket_path="/nonexistent/socket", retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0))
