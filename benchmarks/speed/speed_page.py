"""The tables of docs/speed.md, from benchmarks/results/speed_*.json: no number in that page is typed by hand.

python benchmarks/speed/speed_page.py   # fills the page with what is recorded
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))

from scale_tables import number, spread, table  # noqa: E402

PAGE = HERE.parent.parent / "docs" / "speed.md"
RESULTS = HERE.parent / "results"
QUESTIONS = (
    "pipeline",
    "where",
    "limit",
    "turnover",
    "control_plane",
    "control_plane_where",
    "driver_memory",
    "whole_search",
    "reading",
    "data",
    "start",
    "threads",
    "memory",
)
# Question -> hardware -> what was measured on it.
Results = dict[str, dict[str, dict[str, Any]]]


def recorded() -> Results:
    """What is there."""
    files = {question: RESULTS / f"speed_{question}.json" for question in QUESTIONS}
    return {question: json.loads(path.read_text()) for question, path in files.items() if path.exists()}


def reached(row: dict[str, Any]) -> bool:
    """Whether the median is as good as it should be."""
    goal = row["goal"]
    median = row["ratio" if goal["of"] == "ratio" else "a"]["median"]
    return bool(median >= goal["limit"] if goal["at_least"] else median <= goal["limit"])


def wanted(row: dict[str, Any]) -> str:
    """The goal in words."""
    goal = row["goal"]
    side = "at least" if goal["at_least"] else "at most"
    return f"{side} {number(goal['limit'])}{' times' if goal['of'] == 'ratio' else unit(row)}"


def unit(row: dict[str, Any]) -> str:
    """With a space before it."""
    return f" {row['unit']}" if row["unit"] else ""


def answers(entry: dict[str, Any]) -> str:
    """What was measured on one machine, and beside it."""
    rows = [
        [
            row["what"],
            spread(row["a"]) + unit(row),
            spread(row["b"]) + unit(row) if "b" in row else "",
            f"{spread(row['ratio'])} times" if "ratio" in row else "",
            wanted(row) if "goal" in row else "",
            ("yes" if reached(row) else "no") if "goal" in row else "",
            row["a"]["n"],
        ]
        for row in entry["rows"]
    ]
    shown = table(["", "A", "B", "A is better by", "to reach", "reached", "n"], rows)
    notes = "; ".join(f"{name}: {json.dumps(value)}" for name, value in entry["notes"].items())
    return f"{shown}\n\n{notes}".rstrip()


def answer(question: str, results: Results) -> str:
    """All that was measured to answer it, by hardware."""
    if question not in results:
        return "(not measured yet)"
    return "\n\n".join(f"{hardware}:\n\n{answers(entry)}" for hardware, entry in results[question].items())


def circumstances(results: Results) -> str:
    """On what it was measured."""
    rows = []
    for question, by_hardware in results.items():
        for hardware, entry in by_hardware.items():
            about = entry["about"]
            versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
            load = f"{number(about['load_before'])} to {number(about['load_after'])}"
            rows.append([question, hardware, about["when"], about["commit"], about["python"], versions, load])
    headings = ["question", "hardware", "when", "commit", "Python", "versions", "load average, before to after"]
    return table(headings, rows) if rows else "(not measured yet)"


def fill(page: str, results: Results) -> str:
    """The page with each table between `<!-- NAME -->` and `<!-- end -->` as the results have it."""

    def filled(match: re.Match[str]) -> str:
        name = match[1]
        measured = circumstances(results) if name == "circumstances" else answer(name, results)
        return f"<!-- {name} -->\n{measured}\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", filled, page, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text(), recorded()))
