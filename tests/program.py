"""The `tuner` command as a process, with a home of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Program:
    """Runs `tuner` with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("TUNER_", "TUNE_", "RAY_"))}
        self.environment = {**kept, "TUNER_HOME": str(home), "COLUMNS": "200"}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tuner", *arguments]

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Standard output, or with `code` above 0 the last line of standard error."""
        result = subprocess.run(
            self.command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
        )
        assert result.returncode == code, f"exit {result.returncode}\n{result.stdout}\n{result.stderr}"
        assert "Traceback" not in result.stderr
        return result.stdout if code == 0 else result.stderr.strip().splitlines()[-1]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(
            self.command(*arguments), env=self.environment, cwd=self.home, preexec_fn=_hear_ctrl_c, **pipes
        )

    def finished(self, name: str) -> int:
        """Trials of a study that are complete or pruned; 0 while there is no such study."""
        result = subprocess.run(
            self.command("status", name, "--json"), env=self.environment, capture_output=True, text=True, timeout=60
        )
        if result.returncode != 0:
            return 0
        counts = json.loads(result.stdout)["trials"]
        return counts["complete"] + counts["pruned"]

    def wait_until(
        self, condition: Callable[[], bool], process: subprocess.Popen[str], timeout_s: float = 180.0
    ) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            assert process.poll() is None, f"ended by itself: {process.stdout.read()}"
            assert time.monotonic() < deadline_s, "nothing happened in time"
            time.sleep(1)


def _hear_ctrl_c() -> None:
    """A shell starts what it runs in the background with SIGINT ignored, and so would be all that the tests start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def new_program() -> Iterator[Program]:
    """A program whose home and private Redis go away with the block. Not under tmp_path: a socket's path is short."""
    home = Path(tempfile.mkdtemp(prefix="tuner-cli-"))
    program = Program(home)
    try:
        yield program
    finally:
        program("store", "stop")
        shutil.rmtree(home)
