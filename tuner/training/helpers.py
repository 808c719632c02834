"""Processes that read pictures for this one, since threads cannot: of small pictures most is Python's own work, and
two threads decode them no faster than one (docs/decisions.md).

Plain programs, neither forked (torch's and Ray's threads do not survive that) nor `multiprocessing`'s (it would import
the user's script anew). They answer requests, a line of JSON each, until their standard input ends: when this process
lets them go, or is killed.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tuner.errors import DataError
from tuner.training import pictures

_PICTURES_EACH = 1024
"""A process takes as long to start as decoding some thousand small pictures."""


class Helpers:
    """The processes, for as many threads as there are: each request goes to one that is idle."""

    def __init__(self, count: int) -> None:
        package_root = str(Path(__file__).parents[2])
        path = os.pathsep.join([package_root, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._idle: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()
        self._all = [
            subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": path},
                process_group=0,  # Ctrl-C is for this process, which ends them
            )
            for _ in range(count)
        ]
        for process in self._all:
            self._idle.put(process)

    def read_headers(self, paths: Sequence[Path]) -> list[pictures.Header | None]:
        """As `pictures.read_headers`, of a piece."""
        answer = self._ask({"headers": [str(path) for path in paths]}, paths)
        return [None if header is None else pictures.Header(*header) for header in answer]

    def decode(self, file: Path, start: int, paths: Sequence[Path]) -> list[pictures.Unreadable]:
        """Decode a piece into the .npy `file` from place `start` on; which hold no picture."""
        answer = self._ask({"decode": [str(path) for path in paths], "into": str(file), "start": start}, paths)
        return [pictures.Unreadable(*unreadable) for unreadable in answer]

    def close(self) -> None:
        """End the processes, after what they are doing."""
        for process in self._all:
            process.communicate()

    def _ask(self, request: dict[str, Any], paths: Sequence[Path]) -> Any:
        process = self._idle.get()
        try:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            self._idle.put(process)  # also a dead one: who waits for it must hear of that
        if not line:
            raise DataError(
                f"the process that decodes pictures died (exit status {process.wait()}) at one of the {len(paths)} "
                f"from {paths[0]} on: is there memory left, and does it pass without them?"
            )
        answer = json.loads(line)
        if "error" in answer:
            raise DataError(answer["error"])
        return answer["answer"]


@contextmanager
def helpers_for(count: int, cores: int) -> Iterator[Helpers | None]:
    """As many processes as there are `cores` and `count` pictures are worth; None if threads do as well."""
    number = min(cores, count // _PICTURES_EACH)
    if number < 2:
        yield None
        return
    helpers = Helpers(number)
    try:
        yield helpers
    finally:
        helpers.close()


def _serve() -> None:
    warnings.simplefilter("ignore")
    arrays: dict[str, Any] = {}
    reply: dict[str, Any]
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "headers" in request:
                answer: list[Any] = [pictures.read_header(Path(path)) for path in request["headers"]]
            else:
                name = request["into"]
                if name not in arrays:
                    arrays = {name: np.lib.format.open_memmap(name, mode="r+")}
                paths = [Path(path) for path in request["decode"]]
                answer = pictures.decode_piece(arrays[name], request["start"], paths)
            reply = {"answer": answer}
        except DataError as error:
            reply = {"error": str(error)}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
