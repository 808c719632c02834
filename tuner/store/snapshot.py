"""A study's snapshot in Redis, as text: what its driver has folded of the journal so far, for whoever only looks.

The journal is the truth. A snapshot is a cache of it: it may be missing, behind or damaged, and anybody may delete it.
"""

from __future__ import annotations

import hashlib

import redis

from tuner.store.client import load_script, redis_errors
from tuner.store.keys import StudyKeys

LARGEST = 1 << 28  # bytes; some 300,000 trials
PAGE_ENTRIES = 2_000


def write_snapshot(client: redis.Redis, name: str, fence: int, text: bytes) -> bool:
    """Keep `text` as the snapshot of study `name`; False, and nothing is written, if `fence` is not the newest or the
    text is larger than any may be. Raises StoreError if Redis fails.
    """
    if len(text) > LARGEST:
        return False
    keys = StudyKeys(name)
    script = load_script(client, "snapshot.lua")
    with redis_errors(f"writing the snapshot of study {name!r}"):
        return bool(script([keys.snapshot, keys.fence], [fence, text]))


def read_snapshot(client: redis.Redis, name: str) -> str | None:
    """The snapshot; None if there is none, or one that is larger than any. Raises StoreError if Redis fails, or the
    key holds no text."""
    key = StudyKeys(name).snapshot
    with redis_errors(f"reading the snapshot of study {name!r}"):
        if not 0 < client.strlen(key) <= LARGEST:
            return None
        text = client.get(key)
    return None if text is None else str(text)


def read_entries(client: redis.Redis, name: str, start: int) -> tuple[str, list[str]]:
    """The journal's first entry, "" if it has none, and those from index `start` on. Raises StoreError if Redis
    fails."""
    key = StudyKeys(name).journal
    entries: list[str] = []
    with redis_errors(f"reading the journal of study {name!r}"):
        first = client.lindex(key, 0) or ""
        while True:
            page = client.lrange(key, start + len(entries), start + len(entries) + PAGE_ENTRIES - 1)
            entries += map(str, page)
            if len(page) < PAGE_ENTRIES:
                return str(first), entries


def tie(first: str, last: str) -> str:
    """What binds a snapshot to the one journal that it was made of: a hash of the first entry, in which the driver that
    created the study wrote a random number, and the last one that it covers."""
    return hashlib.sha256(f"{first}\n{last}".encode(errors="surrogatepass")).hexdigest()
