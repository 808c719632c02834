"""Many short texts in little memory."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

_FAST = 1  # zlib's level; entries of a journal repeat each other so much that the others gain little


class PackedTexts(Sequence[str]):
    """A list that grows at its end and is mostly read there: all but the newest texts are kept compressed.

    block: how many are compressed together. The newest, one block to two, are at hand; reading another one unpacks its
    block.
    """

    def __init__(self, block: int = 256) -> None:
        self._block = block
        self._blocks: list[bytes] = []
        self._newest: list[str] = []

    def __len__(self) -> int:
        return self._block * len(self._blocks) + len(self._newest)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            wanted = range(len(self))[index]
            if not wanted:
                return []
            # What comes before the block of the first one is not unpacked.
            begin = min(min(wanted[0], wanted[-1]) // self._block, len(self._blocks))
            texts = list(self._from(begin))
            return [texts[place - self._block * begin] for place in wanted]
        block, place = divmod(range(len(self))[index], self._block)
        if block < len(self._blocks):
            return _unpacked(self._blocks[block])[place]
        return self._newest[place + self._block * (block - len(self._blocks))]

    def __iter__(self) -> Iterator[str]:
        return self._from(0)

    def extend(self, texts: Iterable[str]) -> None:
        """Append texts."""
        self._newest += texts
        while len(self._newest) >= 2 * self._block:
            self._blocks.append(_packed(self._newest[: self._block]))
            del self._newest[: self._block]

    def _from(self, block: int) -> Iterator[str]:
        for packed in self._blocks[block:]:
            yield from _unpacked(packed)
        yield from self._newest


def _packed(texts: list[str]) -> bytes:
    return zlib.compress(json.dumps(texts).encode(), _FAST)


def _unpacked(block: bytes) -> list[str]:
    texts: list[str] = json.loads(zlib.decompress(block))
    return texts
