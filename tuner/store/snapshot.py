"""A study's snapshot in Redis, compressed: what its driver has folded of the journal so far, for whoever only looks.

The journal is the truth. A snapshot is a cache of it: it may be missing, behind or damaged, and anybody may delete it.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterable

import redis

from tuner.store.client import load_script, redis_errors
from tuner.store.keys import StudyKeys

LARGEST = 1 << 28  # bytes of the text; some 300,000 trials
_LARGEST_PACKED = LARGEST // 4
PAGE_ENTRIES = 2_000


def write_snapshot(client: redis.Redis, name: str, fence: int, packed: bytes) -> bool:
    """Keep what `pack` made as the snapshot of study `name`; False, and nothing is written, if `fence` is not the
    newest. Raises StoreError if Redis fails.
    """
    keys = StudyKeys(name)
    script = load_script(client, "snapshot.lua")
    with redis_errors(f"writing the snapshot of study {name!r}"):
        return bool(script([keys.snapshot, keys.fence], [fence, packed]))


def read_snapshot(client: redis.Redis, name: str) -> bytes | None:
    """The text of the snapshot; None if there is none, or one that is larger than any. Raises StoreError if Redis
    fails, or the key holds no text, and what `unpack` does."""
    key = StudyKeys(name).snapshot
    with redis_errors(f"reading the snapshot of study {name!r}"):
        if not 0 < client.strlen(key) <= _LARGEST_PACKED:
            return None
        packed = client.get(key)
    return None if packed is None else unpack(str(packed))


def pack(parts: Iterable[bytes]) -> bytes:
    """A text, given in parts, as it is kept: base64 of zlib's format, which makes it shorter by far. Raises ValueError
    for one that is larger than any may be, which nobody would read."""
    packer, packed, length = zlib.compressobj(1), [], 0
    for part in parts:
        length += len(part)
        packed.append(packer.compress(part))
    kept = base64.b64encode(b"".join([*packed, packer.flush()]))
    if length > LARGEST or len(kept) > _LARGEST_PACKED:
        raise ValueError(f"its {length} bytes, {len(kept)} when compressed, are more than one may have")
    return kept


def unpack(packed: str) -> bytes:
    """The text again. Raises ValueError or zlib.error if it is none, or one that is larger than any."""
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(base64.b64decode(packed, validate=True), LARGEST)
    if not unpacker.eof:
        raise ValueError("it is cut off, or too large")
    return text


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
