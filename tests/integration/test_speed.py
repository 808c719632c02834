"""Each benchmark of benchmarks/speed runs as it is called, in a size that takes seconds, and writes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
QUESTIONS = (
    "control_plane",
    "control_plane_where",
    "data",
    "driver_memory",
    "limit",
    "memory",
    "pipeline",
    "reading",
    "start",
    "threads",
    "turnover",
    "where",
)
AT_ONCE = 3  # most of them wait for processes to start

pytestmark = [pytest.mark.integration, pytest.mark.benchmark, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """What became of each script, by name."""
    folder = tmp_path_factory.mktemp("speed")

    def quick(question: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, f"benchmarks/speed/{question}.py", "--quick", "--results", str(folder)]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        # The longest ones first, so that none is left alone at the end.
        running = {question: pool.submit(quick, question) for question in ("whole_search", *reversed(QUESTIONS))}
        found = {question: future.result() for question, future in running.items()}
    assert not list(folder.iterdir())
    return found


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_benchmark_measures_what_it_is_named_after_and_says_on_what(ended, question):
    done = ended[question]
    assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-3000:]}"
    (entry,) = json.loads(done.stdout[done.stdout.index("\n{\n") :]).values()
    assert entry["rows"]
    assert all(row["a"]["n"] == 1 for row in entry["rows"])
    assert {"load_before", "load_after", "commit", "versions"} <= set(entry["about"])


def test_the_whole_search_is_timed_on_both_sides(ended):
    done = ended["whole_search"]
    assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-3000:]}"
    times, best = json.loads(done.stdout[done.stdout.index("\n[\n") :])
    assert times["b"]["median"] > 0
    assert 0 < best["a"]["median"] <= 1
