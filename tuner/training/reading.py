"""Many picture files at once, with all cores: by processes where there are thousands, else by threads.

Shapes: N pictures, H = W = side in pixels, C channels (1 grey, 3 RGB).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tuner.training.helpers import Helpers, helpers_for
from tuner.training.pictures import Beat, Header, Unreadable, decode_piece, no_beat, read_header

_PIECE = 64
# On a busy machine a process that waits for its next request loses its turn.
_LARGER_FOR_PROCESSES = 4
_Result = TypeVar("_Result")


def read_headers(paths: Sequence[Path], beat: Beat = no_beat) -> Iterator[list[Header | None]]:
    """The headers of `paths` in their order, in pieces; None for a file without a header that can be read.

    Raises DataError naming a file that cannot be opened.
    """

    def read(piece: range, helpers: Helpers | None) -> list[Header | None]:
        if helpers is not None:
            answer = helpers.read_headers(paths[piece.start : piece.stop])
            beat()
            return answer
        headers = []
        for index in piece:
            headers.append(read_header(paths[index]))
            beat()
        return headers

    yield from _in_pieces(read, range(len(paths)), processes=True)


def decode_into(
    images: NDArray[np.uint8], paths: Sequence[Path], beat: Beat = no_beat, *, start: int = 0, file: Path | None = None
) -> Iterator[tuple[int, list[Unreadable]]]:
    """Decode `paths[start:]` into `images` (N x H x W x C, H = W).

    file: the .npy file that `images` is mapped from, so that other processes can write to it; None if there is none.
    Gives, after each piece in order, how many are done (counted from 0, not from `start`), and which of the piece hold
    no picture: their places in `images` are left as they are. Raises DataError naming a file that cannot be read for
    another reason than what is in it.
    """

    def decode(piece: range, helpers: Helpers | None) -> tuple[int, list[Unreadable]]:
        part = paths[piece.start : piece.stop]
        if helpers is None or file is None:
            return piece.stop, decode_piece(images, piece.start, part, beat)
        unreadable = helpers.decode(file, piece.start, part)
        beat()
        return piece.stop, unreadable

    yield from _in_pieces(decode, range(start, len(paths)), processes=file is not None)


def _in_pieces(
    function: Callable[[range, Helpers | None], _Result], indices: range, *, processes: bool
) -> Iterator[_Result]:
    """`function(piece, helpers)` of each piece of `indices`, in order; helpers: `processes` if they are worth it."""
    cores = len(os.sched_getaffinity(0))
    # PIL's warnings (odd EXIF data, large pictures) are about pictures that it reads all the same.
    with (
        warnings.catch_warnings(),
        helpers_for(len(indices) if processes else 0, cores) as helpers,
        ThreadPoolExecutor(cores) as pool,
    ):
        warnings.filterwarnings("ignore", module=r"PIL\b")
        size = _PIECE if helpers is None else _PIECE * _LARGER_FOR_PROCESSES
        pieces = [indices[first : first + size] for first in range(0, len(indices), size)]
        yield from pool.map(lambda piece: function(piece, helpers), pieces)
