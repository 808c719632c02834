"""From what a user asked for to a running search, new or resumed: everything between the CLI and the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tuner import asha
from tuner.errors import DataError, StudyExists
from tuner.progress import LiveTable, PlainLines, progress_for
from tuner.settings import Settings
from tuner.space import Space, load_space
from tuner.spec import Resources, StudySpec
from tuner.store import catalog, embedded, lease
from tuner.store.identity import user_name
from tuner.store.journal import RedisJournal
from tuner.store.keys import check_name
from tuner.study import Study, TrialRecord, read_study, refuse_fewer_epochs
from tuner.training.dataspec import DataInfo, DataSpec, resolve_dataset

if TYPE_CHECKING:
    import redis

    from tuner.search.stopping import Stop
    from tuner.slots import Slots

DEFAULT_TRIALS = 32
DEFAULT_MAX_EPOCHS = 27
SMALL_SPACE = "cifar10-small"


@dataclass(frozen=True)
class SearchRequest:
    """What `tuner search` was asked for; None leaves a choice to the space file or to the defaults."""

    dataset: str
    resources: Resources
    storage: Path
    data_dir: Path
    space: str | None = None
    trials: int | None = None
    max_epochs: int | None = None
    time_budget_s: float | None = None
    name: str | None = None
    address: str | None = None
    seed: int = 0
    keep_all: bool = False
    image_size: int | None = None
    progress_timeout_s: float | None = None
    insecure: bool = False


def default_space(dataset: str, *, gpus: bool) -> str:
    """The shipped space for a data set: its own; on CPUs one with networks small enough for them."""
    if dataset == "digits":
        return "digits"
    if not gpus:
        return SMALL_SPACE if dataset == "cifar10" else "folder"
    return "cifar10" if dataset in ("cifar10", "cifar100", "svhn") else "folder"


def search(request: SearchRequest, client: redis.Redis, settings: Settings, console: Console) -> tuple[Study, Stop]:
    """Create a study and run it. Whatever can be refused is refused before the study exists.

    Raises UsageError, DataError, StudyExists, ClusterError, and what `tuner.search.driver.run` raises.
    """
    dataset = resolve_dataset(request.dataset)
    chosen = load_space(request.space) if request.space is not None else None
    data = DataSpec(dataset=dataset, data_dir=str(request.data_dir), image_size=request.image_size, seed=request.seed)
    name = check_name(request.name) if request.name is not None else catalog.free_name(client, data.default_name)
    if request.name is not None:
        catalog.refuse_existing(client, name)

    info = _describe(data, settings, console)
    _say(
        console,
        f"data set {info.name}: {len(info.classes)} classes, {info.train_size} training and {info.val_size} validation "
        f"pictures of {info.height} x {info.width} x {info.channels}; {info.test_source}",
    )
    with _ray(console, request.address, request.resources, request.insecure) as (slots, dashboard_url):
        space = chosen or load_space(default_space(dataset, gpus=slots.gpus > 0))
        spec = _create(client, new_spec(request, name, data, info.fingerprint, space), named=request.name is not None)
        _announce(console, spec, slots, dashboard_url, spec.trials, chosen is None)
        return _run(spec, client, slots, settings, console, progress_timeout_s=request.progress_timeout_s)


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
    wait_s: float,
    change: Callable[[Resources], Resources],
) -> tuple[Study, Stop]:
    """Go on with a study after any end. `change` replaces the resources that the user named anew.

    Raises StudyNotFound, LeaseHeld if a driver runs it, DataError if the data set changed since the study began,
    UsageError for fewer epochs than the study has, ClusterError, and what `tuner.search.driver.run` raises.
    """
    spec = StudySpec.from_json(catalog.read_spec(client, name))
    spec = replace(spec, resources=change(spec.resources))
    if wait_s == 0:
        lease.refuse_if_held(client, name)
    known = read_study(spec, RedisJournal(client, name), None)
    if max_epochs is not None:
        refuse_fewer_epochs(max_epochs, known.max_epochs)
    _refuse_changed_data(spec, settings, console)
    with _ray(console, address, spec.resources, insecure) as (slots, dashboard_url):
        shown = replace(spec, max_epochs=max_epochs or known.max_epochs)
        _announce(console, shown, slots, dashboard_url, trials or known.trials_wanted, False)
        return _run(
            spec,
            client,
            slots,
            settings,
            console,
            wait_s=wait_s,
            trials=trials,
            max_epochs=max_epochs,
            time_budget_s=time_budget_s,
            progress_timeout_s=progress_timeout_s,
        )


def load_study(client: redis.Redis, name: str | None) -> Study:
    """The study `name`, or the newest one, as its journal tells it. Raises StudyNotFound, StoreError."""
    name = catalog.newest(client) if name is None else name
    spec = StudySpec.from_json(catalog.read_spec(client, name))
    holder = lease.holder(client, name)
    driver = None
    if holder is not None:
        driver = {"host": holder.host, "pid": holder.pid, "user": holder.user, "since_s": holder.since_s}
    return read_study(spec, RedisJournal(client, name), driver)


def new_spec(request: SearchRequest, name: str, data: DataSpec, fingerprint: str, space: Space) -> StudySpec:
    """The frozen spec: the command line goes before the space file, the space file before the defaults."""
    max_epochs = request.max_epochs or space.search.get("max_epochs", DEFAULT_MAX_EPOCHS)
    return StudySpec(
        name=name,
        data=data,
        data_fingerprint=fingerprint,
        space=space,
        trials=request.trials or space.search.get("trials", DEFAULT_TRIALS),
        max_epochs=max_epochs,
        grace_period=space.search.get("grace_period", asha.default_grace_period(max_epochs)),
        reduction_factor=space.search.get("reduction_factor", 4),
        seed=request.seed,
        storage=str(request.storage),
        time_budget_s=request.time_budget_s,
        resources=request.resources,
        keep_all=request.keep_all,
        created_by=user_name(),
    )


def _describe(data: DataSpec, settings: Settings, console: Console) -> DataInfo:
    from tuner.training.cache import describe

    with console.status(f"reading data set {data.default_name} (decoded once per machine)"):
        return describe(data, settings.cache)


def _refuse_changed_data(spec: StudySpec, settings: Settings, console: Console) -> None:
    if _describe(spec.data, settings, console).fingerprint != spec.data_fingerprint:
        raise DataError(
            f"data set {spec.data.dataset} is not the one that study {spec.name} was created with (its files changed, "
            f"or this machine has others): restore it, or start a new study"
        )


@contextmanager
def _ray(console: Console, address: str | None, resources: Resources, insecure: bool) -> Iterator[tuple[Slots, str]]:
    """A connected Ray, with a line that says so while it starts."""
    from tuner.submit import ray_cluster

    status = console.status("starting Ray" if address is None else f"joining Ray at {address}")
    status.start()
    try:
        with ray_cluster(address, resources, insecure=insecure) as slots_and_url:
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
    why = ""
    if chosen_for_them and spec.space.source == SMALL_SPACE:
        why = f" (made for CPUs; --space {spec.data.dataset} has the bounds for GPUs)"
    rungs = ", ".join(map(str, spec.rungs())) or "none"
    _say(
        console,
        f"study {spec.name}: space {spec.space.source}{why}, {trials} trials of up to {spec.max_epochs} epochs, "
        f"compared after epochs {rungs} (reduction factor {spec.reduction_factor}), {slots.count} at once, {device}",
    )
    if dashboard_url:
        _say(console, f"Ray dashboard: {dashboard_url} (its token: `ray get-auth-token`)")


def _run(
    spec: StudySpec,
    client: redis.Redis,
    slots: Slots,
    settings: Settings,
    console: Console,
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
        return progress_for(console, spec, known, wanted)

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
