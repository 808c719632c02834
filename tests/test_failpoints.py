"""A process dies where it was told to, and nowhere else."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tuner import failpoints

CODE = """
from tuner import failpoints
for _ in range(3):
    with failpoints.durable("trial-created"):
        print("created", flush=True)
"""


@pytest.mark.parametrize(
    ("point", "code", "created"),
    [
        ("", 0, 3),
        ("before-trial-created", -signal.SIGKILL, 0),
        ("after-trial-created", -signal.SIGKILL, 1),
        ("before-trial-created:3", -signal.SIGKILL, 2),
        ("after-trial-created:4", 0, 3),
        ("before-lease-taken", 0, 3),
    ],
)
def test_the_process_is_killed_at_the_named_point_the_nth_time(point, code, created):
    result = subprocess.run(
        [sys.executable, "-c", CODE], env={"TUNER_FAILPOINT": point}, capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stdout.count("created")) == (code, created), result.stderr


def test_a_name_that_is_not_in_the_table_is_our_mistake():
    with pytest.raises(AssertionError, match="'nowhere' is not in the table"):
        failpoints.reach("nowhere")


def test_each_name_of_the_table_is_reached_somewhere_in_the_program():
    package = Path(failpoints.__file__).parent
    source = "\n".join(path.read_text() for path in package.rglob("*.py") if path.name != "failpoints.py")
    used = {f"{when}-{step}" for step in re.findall(r'durable\("([^"]+)"\)', source) for when in ("before", "after")}
    used |= set(re.findall(r'reach\("([^"]+)"\)', source))
    assert used == failpoints.NAMES
