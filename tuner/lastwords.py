"""The last line of a search whose process ends before it can say anything: Ray's C++ code may end it, or the kernel."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_log = logging.getLogger(__name__)

# Waits for a line or for the end of its input. The live table has hidden the cursor of a terminal and left it in the
# middle of a line. Shell builtins only, so that it takes no memory when there is none left.
_SCRIPT = r"""
read -r line && exit
[ -t 2 ] && printf '\n\033[?25h' >&2
printf '%s\n' "$1" >&2
"""
_SHELL_ENDS_S = 5.0


@contextmanager
def last_words(study_name: str, again: str = "") -> Iterator[None]:
    """If this process ends within the block, however that happens, how to go on is said on its standard error.

    again: the command for that, if it is not `tuner resume`.

    A process beside this one says it: a shell in a session of its own, which Ctrl-C does not reach, at the end of a
    pipe whose other end only this process has (it is not inherited through `exec`). Leaving the block, by an exception
    too, says nothing. Without a shell there is a warning and no last line.
    """
    line = f"error: the search ended suddenly; nothing is lost, go on with `{again or f'tuner resume {study_name}'}`"
    try:
        shell = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, "last-words", line],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env={},
        )
    except OSError as error:
        _log.warning("if the search ends suddenly, nothing will say how to go on: %s", error)
        yield
        return
    try:
        yield
    finally:
        # It may have been killed meanwhile. A stopped one is not waited for: it leaves when it goes on.
        with suppress(OSError, subprocess.TimeoutExpired):
            shell.communicate(b"end\n", timeout=_SHELL_ENDS_S)
