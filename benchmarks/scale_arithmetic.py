"""What follows from the measurements of `scale.py` for those who plan a cluster, with the arithmetic written out."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

SAFETY = 2.0  # a driver is planned to be busy for half of its time
EPOCHS_S = (1, 5, 30)


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median, lowest, highest and how many, to four significant digits."""
    found = sorted(values)
    shown = {"median": statistics.median(found), "min": found[0], "max": found[-1]}
    return {**{name: float(f"{value:.4g}") for name, value in shown.items()}, "n": len(found)}


def gpus_fed(hosted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """GPUs that one driver feeds, one trial on each, at so many seconds per epoch: never more than were tried."""
    rows = []
    for load in dict.fromkeys(row["load"] for row in hosted):
        tried = [row for row in hosted if row["load"] == load]
        for epoch_s in EPOCHS_S:
            best = max(tried, key=lambda row: (_fed(row, epoch_s), row["workers"]))
            held = best["reports_per_s"]["median"]
            arithmetic = f"{held:g} results/s x {epoch_s} s / {SAFETY:g} = {held * epoch_s / SAFETY:,.0f}"
            if _fed(best, epoch_s) == best["workers"]:
                arithmetic += f", of which {best['workers']:,} were tried"
            rows.append({"epoch_s": epoch_s, "load": load, "gpus": _fed(best, epoch_s), "arithmetic": arithmetic})
    return rows


def _fed(row: dict[str, Any], epoch_s: float) -> int:
    return min(int(row["workers"]), int(row["reports_per_s"]["median"] * epoch_s / SAFETY))


def studies_carried(result: dict[str, Any]) -> list[dict[str, Any]]:
    """How many drivers that are all at their ceiling one Redis and one cluster carry, had they processors enough."""
    one = result["studies"][0]
    rate, several = round(one["reports_per_s"]["median"] / one["studies"], 1), result["studies"][-1]
    rows = []
    for name, key in (("Redis", "redis_cpu_ms"), ("raylet and GCS", "cluster_cpu_ms")):
        cost_ms = several[key]["median"]
        studies = int(1000 / cost_ms / rate / SAFETY)
        arithmetic = f"1 core / {cost_ms:g} ms per result / {rate:g} results/s / {SAFETY:g}"
        rows.append({"what": f"{name}, by CPU", "studies": studies, "arithmetic": arithmetic})
    for policy in ("always", "everysec"):
        tried = [row["appends_per_s"]["median"] for row in result["appends"] if row["appendfsync"] == policy]
        arithmetic = f"{max(tried):g} appends/s / {rate:g} results/s / {SAFETY:g}"
        studies = int(max(tried) / rate / SAFETY)
        rows.append({"what": f"Redis, by appends (appendfsync {policy})", "studies": studies, "arithmetic": arithmetic})
    return rows
