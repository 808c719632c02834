"""From what a user asked for to a running search, new or resumed: everything between the CLI and the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tuner.databar import data_progress
from tuner.errors import DataError, Interrupted, StudyExists, UsageError
from tuner.jobs import ThisJob, this_job
from tuner.lastwords import last_words
from tuner.probe import check_machines
from tuner.progress import LiveTable, PlainLines, progress_for
from tuner.request import SMALL_SPACE, SearchRequest, default_space, job_metadata, new_spec
from tuner.settings import Settings
from tuner.space import load_space
from tuner.spec import Resources, StudySpec
from tuner.store import catalog, embedded, lease
from tuner.store.jobs import write_job
from tuner.store.journal import RedisJournal
from tuner.store.keys import check_name
from tuner.study import Study, TrialRecord, read_study, refuse_fewer_epochs
from tuner.training.config import check_classes
from tuner.training.dataspec import DataInfo, DataSpec, resolve_dataset

if TYPE_CHECKING:
    import redis

    from tuner.search.stopping import Stop
    from tuner.slots import Slots


def search(request: SearchRequest, client: redis.Redis, settings: Settings, console: Console) -> tuple[Study, Stop]:
    """Create a study and run it. Whatever can be refused is refused before the study exists.

    Raises UsageError, DataError, StudyExists, ClusterError, and what `tuner.search.driver.run` raises.
    """
    from tuner.submit import refuse_unusable

    refuse_unusable(request.address, request.resources, strict_gpus=request.strict_gpus)
    job = this_job(settings, console)
    dataset = resolve_dataset(request.dataset)
    chosen = load_space(request.space) if request.space is not None else None
    if job is not None and job.space is not None:
        chosen = job.space
    if request.fixed:
        if chosen is None:
            raise UsageError(
                "--fixed needs --space: a space file or a name of `tuner spaces list` with a [start] table"
            )
        chosen = chosen.only_start()
    size = request.image_size or (None if chosen is None else chosen.input.get("size"))
    data = DataSpec(
        dataset=dataset,
        data_dir=str(request.data_dir),
        image_size=size,
        seed=request.seed,
        strict=request.strict_data,
    )
    name = check_name(request.name) if request.name is not None else catalog.free_name(client, data.default_name)
    if request.name is not None:
        catalog.refuse_existing(client, name)

    info = _describe(data, settings, console)
    _say(
        console,
        f"data set {info.name}: {len(info.classes)} classes, {info.train_size} training and {info.val_size} validation "
        f"pictures of {info.height} x {info.width} x {info.channels}; {info.test_source}",
    )
    for note in info.notes:
        _say(console, f"note: {note}")
    if chosen is not None:
        check_classes(chosen.constants.get("output", "softmax"), len(info.classes))
    metadata = job_metadata(name, dataset, chosen, request.trials, request.max_epochs)
    spec: StudySpec | None = None
    try:
        with _ray(console, request.address, request.resources, request.insecure, request.strict_gpus, metadata) as (
            slots,
            dashboard_url,
        ):
            if request.address is not None:
                check_machines(request.storage)
            space = chosen or load_space(default_space(dataset, gpus=slots.gpus > 0))
            spec = _create(
                client, new_spec(request, name, data, info.fingerprint, space), named=request.name is not None
            )
            _announce(console, spec, slots, dashboard_url, spec.trials, chosen is None)
            return _run(spec, client, slots, settings, console, job, progress_timeout_s=request.progress_timeout_s)
    except KeyboardInterrupt:
        if spec is None:
            raise
        raise _interrupted(spec.name) from None


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
) -> tuple[Study, Stop]:
    """Go on with a study after any end. `change` replaces the resources that the user named anew.

    Raises StudyNotFound, LeaseHeld if a driver runs it, DataError if the data set changed since the study began,
    UsageError for fewer epochs than the study has, ClusterError, and what `tuner.search.driver.run` raises.
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
    _refuse_changed_data(spec, settings, console)
    metadata = job_metadata(
        name, spec.data.dataset, spec.space, trials or known.trials_wanted, max_epochs or known.max_epochs
    )
    try:
        with _ray(console, address, spec.resources, insecure, strict_gpus, metadata) as (slots, dashboard_url):
            if address is not None:
                check_machines(Path(spec.storage))
            shown = replace(spec, max_epochs=max_epochs or known.max_epochs)
            _announce(console, shown, slots, dashboard_url, trials or known.trials_wanted, False)
            return _run(
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


def _interrupted(name: str) -> Interrupted:
    return Interrupted(f"interrupted; nothing is lost, go on with `tuner resume {name}`")


def _describe(data: DataSpec, settings: Settings, console: Console) -> DataInfo:
    from tuner.training.cache import describe

    with data_progress(console, data.default_name) as tell:
        return describe(data, settings.cache, tell)


def _refuse_changed_data(spec: StudySpec, settings: Settings, console: Console) -> None:
    if _describe(spec.data, settings, console).fingerprint != spec.data_fingerprint:
        raise DataError(
            f"data set {spec.data.dataset} is not the one that study {spec.name} was created with (its files changed, "
            f"or this machine has others): restore it, or start a new study"
        )


@contextmanager
def _ray(
    console: Console,
    address: str | None,
    resources: Resources,
    insecure: bool,
    strict_gpus: bool,
    metadata: Mapping[str, str],
) -> Iterator[tuple[Slots, str]]:
    """A connected Ray, with a line that says so while it starts."""
    from tuner.submit import ray_cluster

    status = console.status("starting Ray" if address is None else f"joining Ray at {address}")
    status.start()
    try:
        with ray_cluster(
            address, resources, insecure=insecure, strict_gpus=strict_gpus, metadata=metadata
        ) as slots_and_url:
            status.stop()
            yield slots_and_url
    finally:
        status.stop()


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


def _announce(
    console: Console, spec: StudySpec, slots: Slots, dashboard_url: str, trials: int, chosen_for_them: bool
) -> None:
    for note in slots.notes:
        _say(console, note)
    device = f"{slots.gpus:g} GPU each" if slots.gpus else f"{slots.threads} CPU threads each"
    at_once = f"{slots.count or 'none'} at once"
    if slots.can_grow and slots.most is not None and slots.count < slots.most:
        at_once += f" now, up to {slots.most} later"
    why = ""
    if chosen_for_them and spec.space.source == SMALL_SPACE:
        why = f" (made for CPUs; --space {spec.data.dataset} has the bounds for GPUs)"
    rungs = ", ".join(map(str, spec.rungs())) or "none"
    _say(
        console,
        f"study {spec.name}: space {spec.space.source}{why}, {trials} trials of up to {spec.max_epochs} epochs, "
        f"compared after epochs {rungs} (reduction factor {spec.reduction_factor}), {at_once}, {device}",
    )
    if dashboard_url:
        _say(console, f"Ray dashboard: {dashboard_url} (its token: `ray get-auth-token`)")


def _run(
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
) -> tuple[Study, Stop]:
    from tuner.search import driver
    from tuner.search.watch import PROGRESS_TIMEOUT_S

    def show(known: list[TrialRecord], wanted: int) -> LiveTable | PlainLines:
        # Not before: called by a driver, it tells that the lease is its own. Who submitted it waits for this.
        write_job(client, spec.name, None if job is None else job.record)
        return progress_for(console, spec, known, wanted)

    with last_words(spec.name):
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
        )


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
