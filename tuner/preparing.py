"""What a search needs before it is created: its data read, its spec made, Ray connected. Nothing is stored yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.console import Console

from tuner.announcing import say
from tuner.budget import refuse_other_device
from tuner.chosen import choose_network, tried
from tuner.databar import data_progress
from tuner.errors import UsageError
from tuner.jobs import ThisJob
from tuner.overrides import override
from tuner.probe import check_machines
from tuner.request import SearchRequest, checked_budget, chosen_space, default_space, job_metadata, new_spec, overridden
from tuner.settings import Settings
from tuner.space import Space, load_space
from tuner.spec import Resources, StudySpec
from tuner.store import catalog
from tuner.store.keys import check_name
from tuner.study import Study
from tuner.training.config import check_classes
from tuner.training.dataspec import DataInfo, DataSpec, resolve_dataset
from tuner.training.modelspec import ModelSpec
from tuner.training.remarks import about_balance
from tuner.warmstart import warm_started

if TYPE_CHECKING:
    import redis

    from tuner.slots import Slots


@dataclass(frozen=True)
class Prepared:
    """A search that could start now. files: what the study is to keep of its network; chosen_for_them: nobody named the
    space."""

    spec: StudySpec
    slots: Slots
    dashboard_url: str
    files: Mapping[str, bytes]
    chosen_for_them: bool


@contextmanager
def prepared(
    request: SearchRequest,
    client: redis.Redis,
    settings: Settings,
    console: Console,
    job: ThisJob | None,
    earlier: Study | None,
) -> Iterator[Prepared]:
    """Read the data, make the spec and connect Ray for the `with` block; whatever can be refused is refused here.

    earlier: the study of `--warm-start`. Raises UsageError, DataError, StudyExists, ClusterError, StoreError.
    """
    from tuner.submit import refuse_unusable

    refuse_unusable(request.address, request.resources, strict_gpus=request.strict_gpus)
    dataset = resolve_dataset(request.dataset)
    chosen = (None if job is None else job.space) or chosen_space(request)
    if job is not None:
        request = replace(request, enqueue=job.enqueue or request.enqueue)
    chosen, notes = overridden(request, chosen)
    if request.fixed:
        if chosen is None:
            raise UsageError(
                "--fixed needs --space: a space file or a name of `tuner spaces list` with a [start] table"
            )
        chosen = chosen.only_start()
    network = choose_network(chosen, pretrained=request.pretrained, weights=request.weights)
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

    info = described(data, settings, console)
    say(
        console,
        f"data set {info.name}: {len(info.classes)} classes, {info.train_size} training and {info.val_size} validation "
        f"pictures of {info.height} x {info.width} x {info.channels}; {info.test_source}",
    )
    say(console, *(f"note: {note}" for note in [*info.notes, *notes]))

    def spec_for(space: Space) -> tuple[StudySpec, list[str]]:
        made = new_spec(request, name, data, info.fingerprint, space)
        return (made, []) if earlier is None else warm_started(made, earlier)

    model: ModelSpec | None = None
    if chosen is not None:
        first, _ = spec_for(chosen)  # whatever it refuses is refused before Ray starts
        if network is None:
            check_classes(chosen.constants.get("output", "softmax"), len(info.classes))
        else:
            model, network, line = tried(network, first, info)
            say(console, *network.notes, line)
    metadata = job_metadata(name, dataset, chosen, request.trials, request.max_epochs)
    with ray_ready(console, request.address, request.resources, request.insecure, request.strict_gpus, metadata) as (
        slots,
        dashboard_url,
    ):
        if request.address is not None:
            check_machines(request.storage)
        refuse_other_device(checked_budget(request), gpus=slots.gpus > 0)
        space = chosen
        if space is None:
            space, notes = override(load_space(default_space(dataset, gpus=slots.gpus > 0)), request.overrides)
            say(console, *(f"note: {note}" for note in notes))
        made, notes = spec_for(space)
        say(console, *notes, *_about_balance(made, info))
        files = {} if network is None else network.files
        yield Prepared(replace(made, model=model), slots, dashboard_url, files, chosen is None)


def _about_balance(spec: StudySpec, info: DataInfo) -> list[str]:
    """A line if classes are unbalanced and the score lets the large ones decide."""
    if spec.metric != "val_accuracy":
        return []
    weighted = "class_weight" in spec.space.dimensions or spec.space.constants.get("class_weight", "none") != "none"
    note = about_balance(info.classes, info.train_counts, weighted=weighted)
    return [f"note: {note}"] if note else []


def described(data: DataSpec, settings: Settings, console: Console) -> DataInfo:
    """What the data set consists of, decoded into the cache if it is not there; a bar shows how far that is."""
    from tuner.training.cache import describe

    with data_progress(console, data.default_name) as tell:
        return describe(data, settings.cache, tell)


@contextmanager
def ray_ready(
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
