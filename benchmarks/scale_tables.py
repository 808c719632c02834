"""The tables of docs/scale.md, from benchmarks/results/scale.json: no number in that page is typed by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Row = Iterable[object]


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


def spread(found: dict[str, float]) -> str:
    """Median, and how far apart the repeats were."""
    if found["n"] == 1:
        return f"{number(found['median'])} (n = 1)"
    return f"{number(found['median'])} ({number(found['min'])} to {number(found['max'])})"


def table(headings: Iterable[str], rows: Iterable[Row]) -> str:
    """A table in Markdown."""
    lines = [list(headings), ["---"] * len(list(headings)), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def circumstances(result: dict[str, Any]) -> str:
    """On what it was measured."""
    rows = []
    for section, about in result["circumstances"].items():
        versions = ", ".join(f"{name} {about['versions'][name]}" for name in ("ray", "optuna", "redis"))
        load = f"{number(about['load_before'])} to {number(about['load_after'])}"
        where = f"{about['cores']} x {about['cpu']}"
        rows.append([section, about["when"], about["commit"], where, versions, about["repeats"], load])
    return table(["part", "when", "commit", "cores", "versions", "runs", "load average, before to after"], rows)


def drivers(result: dict[str, Any]) -> str:
    """What one driver holds."""
    return table(
        ["workers", "as", "trials", "results/s", "CPU ms per result", "load", "trials ended before", "s to start all"],
        (
            [
                f"{row['workers']:,}",
                "hosted" if row["hosted"] else "processes",
                row["load"],
                spread(row["reports_per_s"]),
                spread(row["cpu_ms_per_report"]),
                number(row["load_average"]["median"]),
                number(row["trials_so_far"]["median"]),
                number(row["start_s"]["median"]),
            ]
            for row in [*result.get("processes", ()), *result["hosted"]]
        ),
    )


def gpus(result: dict[str, Any]) -> str:
    """How many GPUs one driver feeds."""
    return table(
        ["seconds per epoch", "trials", "GPUs", "from"],
        ([row["epoch_s"], row["load"], f"{row['gpus']:,}", row["arithmetic"]] for row in result["gpus"]),
    )


def shares(result: dict[str, Any]) -> str:
    """Where the driver's time goes."""
    runs = result["shares"]
    return table(
        ["part of the driver's loop", *(f"{run['workers']:,} workers, {run['load']}" for run in runs)],
        ([part, *(f"{run['shares'][part]:.1%}" for run in runs)] for part in runs[0]["shares"]),
    )


def suggestions(result: dict[str, Any]) -> str:
    """What TPE costs."""
    return table(
        ["trials ended", "CPU ms per suggestion"], ([f"{row['trials']:,}", spread(row["ms"])] for row in result["tpe"])
    )


def redis_use(result: dict[str, Any]) -> str:
    """What a report costs Redis."""
    rows = []
    for row in result["hosted"]:
        used = row["redis"]
        inside = ", ".join(f"{name} {number(calls)}" for name, calls in used["calls_per_report"].items())
        cells = map(number, (used["in_bytes"], used["out_bytes"], used["cpu_ms"]))
        # Trials without an end keep as much as was reported so far.
        kept = number(used["memory_bytes_per_trial"]) if row["load"] == "searching" else "grows"
        rows.append([f"{row['workers']:,}", row["load"], inside, *cells, kept])
    return table(
        [
            "workers",
            "trials",
            "commands per result",
            "bytes in",
            "bytes out",
            "CPU ms of Redis",
            "bytes kept per trial",
        ],
        rows,
    )


def appends(result: dict[str, Any]) -> str:
    """What Redis takes alone."""
    return table(
        ["appendfsync", "clients", "appends/s"],
        ([row["appendfsync"], row["clients"], spread(row["appends_per_s"])] for row in result["appends"]),
    )


def studies(result: dict[str, Any]) -> str:
    """Several drivers at once."""
    return table(
        ["studies", "results/s, all", "CPU ms of the driver per result", "CPU ms of Redis", "CPU ms of raylet and GCS"],
        (
            [
                row["studies"],
                spread(row["reports_per_s"]),
                spread(row["cpu_ms_per_report"]),
                spread(row["redis_cpu_ms"]),
                spread(row["cluster_cpu_ms"]),
            ]
            for row in result["studies"]
        ),
    )


def carried(result: dict[str, Any]) -> str:
    """How many studies one Redis carries."""
    return table(
        ["what", "studies", "from"],
        ([row["what"], f"{row['studies']:,}", row["arithmetic"]] for row in result["carried"]),
    )


def machines(result: dict[str, Any]) -> str:
    """Joining and dying."""
    found = result["machines"]
    lost = found["epochs_lost"]
    return table(
        ["", "seen"],
        [
            ["s from a machine's joining to its first result", spread(found["join_to_first_report_s"])],
            ["s from the start of `ray start` to joining", spread(found["start_to_join_s"])],
            [
                f"epochs reported and trained again after kill -9, a checkpoint every {found['save_every_epochs']}",
                f"{lost['median']:g} ({lost['min']:g} to {lost['max']:g})",
            ],
            ["s from kill -9 until the driver has recorded the loss", spread(found["kill_to_known_s"])],
        ],
    )


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "circumstances": circumstances,
    "drivers": drivers,
    "gpus": gpus,
    "shares": shares,
    "tpe": suggestions,
    "redis": redis_use,
    "appends": appends,
    "studies": studies,
    "carried": carried,
    "machines": machines,
}


# What a table is made of, where that has another name.
NEEDS = {"drivers": "hosted", "redis": "hosted"}


def fill(page: str, result: dict[str, Any]) -> str:
    """The page with each table between `<!-- NAME -->` and `<!-- end -->` as the results have it."""

    def filled(match: re.Match[str]) -> str:
        name = match[1]
        measured = TABLES[name](result) if NEEDS.get(name, name) in result else "(not measured yet)"
        return f"<!-- {name} -->\n{measured}\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", filled, page, flags=re.DOTALL)


def write_page(path: Path, result: dict[str, Any]) -> None:
    """Bring the tables of a page up to date."""
    path.write_text(fill(path.read_text(), result))
