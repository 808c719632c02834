"""`export-best --confirm`: the best configurations trained anew, by the driver and the workers of a search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tuner.announcing import say
from tuner.chosen import check_kept
from tuner.confirmed import Confirmation, Confirmed, Runs, ranking, runs_for, runs_that_failed
from tuner.errors import ExportError, Interrupted, TunerError, UsageError
from tuner.launch import refuse_changed_data, run_driver
from tuner.preparing import ray_ready
from tuner.probe import check_machines
from tuner.ray_http import is_http
from tuner.request import job_metadata
from tuner.settings import Settings
from tuner.slots import Slots
from tuner.spec import Resources, StudySpec
from tuner.store import catalog, lease
from tuner.store.journal import RedisJournal
from tuner.study import Study, TrialRecord, read_study
from tuner.training.remarks import plural

if TYPE_CHECKING:
    import redis


def confirm(
    name: str,
    client: redis.Redis,
    settings: Settings,
    console: Console,
    wanted: Confirmation,
    *,
    address: str | None,
    insecure: bool,
    change: Callable[[Resources], Resources],
) -> Study:
    """Train what `wanted` misses, say how the configurations rank, and return the study as it is then.

    Typed again after any end, it goes on where it was; if nothing is missing it trains nothing. `change` replaces the
    resources that the user named anew. Raises StudyNotFound, LeaseHeld while a driver runs the study, ExportError if
    there is nothing to confirm or no run ended well, Interrupted if it was stopped, and what `tuner.launch.resume`
    raises.
    """
    if address is not None and is_http(address):
        raise UsageError(
            f"only search and resume can be submitted to {address}: run this on a machine of the cluster that sees "
            "--storage, with --address auto or HOST:PORT"
        )
    spec = StudySpec.from_json(catalog.read_spec(client, name))
    lease.refuse_if_held(client, name)
    study = read_study(spec, RedisJournal(client, name), None)
    wanted = wanted.for_front(study)
    runs = runs_for(study.trials, spec.direction, study.max_epochs, wanted)
    if not runs.configurations:
        raise ExportError(f"study {name} has no trained weights, so nothing to confirm: see `tuner trials {name}`")
    if runs.configurations < wanted.configurations:
        say(console, f"note: study {name} has {plural(runs.configurations, 'configuration')} whose weights are kept")
    if runs.missing or runs.unfinished:
        study = _train(study, runs, client, settings, console, wanted, address, insecure, change)
    ranked = ranking(study, wanted)
    say(console, *_told(study, ranked), *map(_failed, runs_that_failed(study.trials)))
    if not ranked:
        raise ExportError(f"no run that was to confirm study {name} ended well: see `tuner trials {name}`")
    return study


def _train(
    study: Study,
    runs: Runs,
    client: redis.Redis,
    settings: Settings,
    console: Console,
    wanted: Confirmation,
    address: str | None,
    insecure: bool,
    change: Callable[[Resources], Resources],
) -> Study:
    from tuner.submit import refuse_unusable

    # The time budget is that of the search.
    spec = replace(study.spec, resources=change(study.spec.resources), time_budget_s=None)
    refuse_unusable(address, spec.resources, strict_gpus=False)
    refuse_changed_data(spec, settings, console)
    check_kept(spec, lambda line: say(console, line))
    total = len(runs.known) + len(runs.missing)
    metadata = job_metadata(spec.name, spec.data.dataset, spec.space, total, study.max_epochs)
    again = f"nothing is lost, go on with `{wanted.command(spec.name)}`"
    try:
        with ray_ready(console, address, spec.resources, insecure, False, metadata) as (slots, _):
            if address is not None:
                check_machines(Path(spec.storage))
            say(console, _announced(study, runs, slots, total))
            after, stop = run_driver(spec, client, slots, settings, console, None, confirm=wanted)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {again}") from None
    if stop.signal is not None:
        stopped = Interrupted(f"stopped ({stop.why}); {again}")
        stopped.exit_code = 128 + stop.signal
        raise stopped
    if stop.why:
        raise TunerError(f"stopped ({stop.why}); {again}")
    return after


def _announced(study: Study, runs: Runs, slots: Slots, total: int) -> str:
    done = total - len(runs.missing) - len(runs.unfinished)
    device = f"{slots.gpus:g} GPU each" if slots.gpus else f"{slots.threads} CPU threads each"
    return (
        f"confirming the {plural(runs.configurations, 'best configuration')} of study {study.spec.name}: "
        f"{plural(total, 'run')} with fresh seeds of up to {plural(study.max_epochs, 'epoch')}, "
        f"{done} of them done already, {slots.count or 'none'} at once, {device}"
    )


def _told(study: Study, ranked: Sequence[Confirmed]) -> list[str]:
    lines = [f"{study.spec.metric} of fresh runs, the highest mean first:"] if ranked else []
    if ranked and study.spec.direction == "minimize":
        lines = [f"{study.spec.metric} of fresh runs, the lowest mean first:"]
    for one in ranked:
        spread = "one run" if one.spread is None else f"standard deviation {one.spread:.4f}"
        scores = ", ".join(f"{score:.4f}" for score in one.scores)
        diverged = f"; {one.diverged} more diverged" if one.diverged else ""
        lines.append(
            f"  trial {one.origin.number}: mean {one.mean:.4f}, {spread} ({scores}{diverged}); in the search "
            f"{one.search_score:.4f}"
        )
    return lines


def _failed(run: TrialRecord) -> str:
    reason = run.reason or {}
    return f"note: trial {run.number}, which was to confirm trial {run.confirms}, failed: {reason.get('detail', '')}"
