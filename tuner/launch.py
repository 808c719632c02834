"""From what a user asked for to a running search, new or resumed: everything between the CLI and the driver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tuner.announcing import announce, say
from tuner.budget import refuse_other_device
from tuner.chosen import check_kept, keep
from tuner.confirmed import Confirmation
from tuner.dryrun import expected
from tuner.errors import DataError, Interrupted, StudyExists
from tuner.jobs import ThisJob, this_job
from tuner.lastwords import last_words
from tuner.ledger import budget_of_resume
from tuner.preparing import described, prepared, ray_ready
from tuner.probe import check_machines
from tuner.progress import Display, progress_for
from tuner.request import SearchRequest, job_metadata
from tuner.retention import trace_file
from tuner.settings import Settings
from tuner.spec import Resources, StudySpec
from tuner.store import catalog, embedded, lease
from tuner.store.jobs import write_job
from tuner.store.journal import RedisJournal
from tuner.study import Study, TrialRecord, read_study, refuse_fewer_epochs

if TYPE_CHECKING:
    import redis

    from tuner.search.stopping import Stop
    from tuner.slots import Slots


def search(request: SearchRequest, client: redis.Redis, settings: Settings, console: Console) -> tuple[Study, Stop]:
    """Create a study and run it. Whatever can be refused is refused before the study exists.

    Raises UsageError, DataError, StudyExists, ClusterError, and what `tuner.search.driver.run` raises.
    """
    job = this_job(settings, console)
    spec: StudySpec | None = None
    try:
        with prepared(request, client, settings, console, job, _earlier(request, client)) as ready:
            spec = _create(client, ready.spec, named=request.name is not None)
            keep(spec, ready.files)
            announce(console, spec, ready.slots, ready.dashboard_url, spec.trials, ready.chosen_for_them)
            if request.profile:
                trace = trace_file(spec.storage, spec.name)
                say(console, f"a trial's second epoch is traced to {trace} (for ui.perfetto.dev or chrome://tracing)")
            return run_driver(
                spec,
                client,
                ready.slots,
                settings,
                console,
                job,
                progress_timeout_s=request.progress_timeout_s,
                profile=request.profile,
            )
    except KeyboardInterrupt:
        if spec is None:
            raise
        raise _interrupted(spec.name) from None


def dry_run(request: SearchRequest, client: redis.Redis, settings: Settings, console: Console) -> None:
    """Say what `search` would do, and how long it would take by one timed epoch; creates no study.

    Raises what `search` raises before the study exists, and TunerError if the median configuration cannot be trained.
    """
    with prepared(request, client, settings, console, None, _earlier(request, client)) as ready:
        announce(console, ready.spec, ready.slots, "", ready.spec.trials, ready.chosen_for_them)
        say(console, *expected(ready.spec, ready.slots, settings.cache, ready.files))


def resume(
    name: str,
    client: redis.Redis,
    settings: Settings,
    console: Console,
    *,
    trials: int | None,
    max_epochs: int | None,
    time_budget_s: float | None,
    progress_timeout_s: float | None,
    address: str | None,
    insecure: bool,
    strict_gpus: bool,
    wait_s: float,
    change: Callable[[Resources], Resources],
    budget: str | None = None,
) -> tuple[Study, Stop]:
    """Go on with a study after any end. `change` replaces the resources that the user named anew, `budget` the total.

    Raises StudyNotFound, LeaseHeld if a driver runs it, DataError if the data set changed since the study began,
    UsageError for fewer epochs than the study has or a budget that is used up, ClusterError, and what
    `tuner.search.driver.run` raises.
    """
    from tuner.submit import refuse_unusable

    job = this_job(settings, console)
    spec = StudySpec.from_json(catalog.read_spec(client, name))
    spec = replace(spec, resources=change(spec.resources))
    refuse_unusable(address, spec.resources, strict_gpus=strict_gpus)
    if wait_s == 0:
        lease.refuse_if_held(client, name)
    known = read_study(spec, RedisJournal(client, name), None)
    if max_epochs is not None:
        refuse_fewer_epochs(max_epochs, known.max_epochs)
    spec = replace(spec, budget=budget_of_resume(known, budget))
    if spec.resources.gpus is not None:
        refuse_other_device(spec.budget, gpus=spec.resources.gpus > 0)  # else as soon as Ray tells what there is
    refuse_changed_data(spec, settings, console)
    check_kept(spec, lambda line: say(console, line))
    metadata = job_metadata(
        name, spec.data.dataset, spec.space, trials or known.trials_wanted, max_epochs or known.max_epochs
    )
    try:
        with ray_ready(console, address, spec.resources, insecure, strict_gpus, metadata) as (slots, dashboard_url):
            refuse_other_device(spec.budget, gpus=slots.gpus > 0)
            if address is not None:
                check_machines(Path(spec.storage))
            shown = replace(spec, max_epochs=max_epochs or known.max_epochs)
            announce(console, shown, slots, dashboard_url, trials or known.trials_wanted, False)
            return run_driver(
                spec,
                client,
                slots,
                settings,
                console,
                job,
                wait_s=wait_s,
                trials=trials,
                max_epochs=max_epochs,
                time_budget_s=time_budget_s,
                progress_timeout_s=progress_timeout_s,
            )
    except KeyboardInterrupt:
        raise _interrupted(name) from None


def load_study(client: redis.Redis, name: str | None) -> Study:
    """The study `name`, or the newest one, as its journal tells it. Raises StudyNotFound, StoreError."""
    name = catalog.newest(client) if name is None else name
    spec = StudySpec.from_json(catalog.read_spec(client, name))
    holder = lease.holder(client, name)
    return read_study(spec, RedisJournal(client, name), None if holder is None else holder.describe())


def _earlier(request: SearchRequest, client: redis.Redis) -> Study | None:
    return None if request.warm_start is None else load_study(client, request.warm_start)


def _interrupted(name: str) -> Interrupted:
    return Interrupted(f"interrupted; nothing is lost, go on with `tuner resume {name}`")


def refuse_changed_data(spec: StudySpec, settings: Settings, console: Console) -> None:
    """Raise DataError if the data set is not what it was when the study began; it is decoded if it has to be."""
    if described(spec.data, settings, console).fingerprint != spec.data_fingerprint:
        raise DataError(
            f"data set {spec.data.dataset} is not the one that study {spec.name} was created with (its files changed, "
            f"or this machine has others): restore it, or start a new study"
        )


def _create(client: redis.Redis, spec: StudySpec, *, named: bool) -> StudySpec:
    """Store the spec; under the next free name if the user gave none and another search took this one meanwhile."""
    while True:
        try:
            catalog.create_study(client, spec.name, spec.to_json())
        except StudyExists:
            if named:
                raise
            spec = replace(spec, name=catalog.free_name(client, spec.data.default_name))
        else:
            return spec


def run_driver(
    spec: StudySpec,
    client: redis.Redis,
    slots: Slots,
    settings: Settings,
    console: Console,
    job: ThisJob | None,
    *,
    wait_s: float = 0.0,
    trials: int | None = None,
    max_epochs: int | None = None,
    time_budget_s: float | None = None,
    progress_timeout_s: float | None = None,
    profile: bool = False,
    confirm: Confirmation | None = None,
) -> tuple[Study, Stop]:
    """Run the study in this process, Ray being connected: what all ways to train have in common."""
    from tuner.search import driver
    from tuner.search.watch import PROGRESS_TIMEOUT_S

    def show(known: list[TrialRecord], wanted: int) -> Display:
        # Not before: called by a driver, it tells that the lease is its own. Who submitted it waits for this.
        write_job(client, spec.name, None if job is None else job.record)
        return progress_for(console, spec, known, wanted)

    with last_words(spec.name, "" if confirm is None else confirm.command(spec.name)):
        return driver.run(
            spec,
            client,
            slots,
            cache=settings.cache,
            show=show,
            wait_s=wait_s,
            trials=trials,
            max_epochs=max_epochs,
            time_budget_s=time_budget_s,
            progress_timeout_s=progress_timeout_s or PROGRESS_TIMEOUT_S,
            revive=embedded.reviver(settings.home, client),
            profile=profile,
            confirm=confirm,
        )
