"""What a search would do, before it does it: one timed epoch of the median configuration, and what follows from it."""

from __future__ import annotations

import math
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tuner.configurations import exists, in_drawing_order
from tuner.errors import TunerError
from tuner.exchange import Assignment, Failure, Report
from tuner.forecast import Forecast, forecast, trials_within
from tuner.ledger import Ledger
from tuner.progress import format_params, format_seconds
from tuner.retention import study_folder
from tuner.slots import Slots
from tuner.space import Space
from tuner.spec import StudySpec
from tuner.training.config import Value
from tuner.usage import Share

# An epoch shorter than this is timed once more: the first one of a process is slower than all others.
SHORT_S = 10.0


def median_configuration(space: Space) -> dict[str, Value]:
    """The middle of each dimension, on its scale; of choices the middle one in the order of the space."""
    params: dict[str, Value] = {}
    for name in in_drawing_order(space.dimensions):
        table = space.dimensions[name]
        if exists(table, params):
            params[name] = _middle(table)
    return {name: params[name] for name in space.dimensions if name in params}


def _middle(table: Mapping[str, Any]) -> Value:
    if table["type"] == "choice":
        choices: list[Value] = table["choices"]
        return choices[len(choices) // 2]
    low, high = table["low"], table["high"]
    middle = math.sqrt(low * high) if table["log"] else (low + high) / 2
    if table["step"]:
        middle = low + round((middle - low) / table["step"]) * table["step"]
    return round(middle) if table["type"] == "int" else float(middle)


def expected(spec: StudySpec, slots: Slots, cache: Path, files: Mapping[str, bytes]) -> list[str]:
    """The lines of `tuner search --dry-run`; Ray must be connected. files: what the network is made from.

    The epoch is trained as a trial of the study would be, by the same worker with the same reservation; the folder that
    it writes to is removed. Raises TunerError if the configuration cannot be trained.
    """
    params = median_configuration(spec.space)
    seconds, worker = _timed_epoch(spec, params, slots, cache, files)
    lines = [f"one epoch of the median configuration takes {_short(seconds)} on {worker}: {format_params(params)}"]
    return [*lines, *describe(forecast(spec, seconds, max(1, slots.count)), spec, Share(slots.gpus, slots.cpus))]


def describe(found: Forecast, spec: StudySpec, share: Share) -> list[str]:
    """A forecast as lines of text: the rungs, the trials expected at each, the time, and how far the budget gets.

    share: what each trial reserves.
    """
    lines = ["epochs     trials expected to train them"]
    for stretch in found.stretches:
        span = f"{stretch.begins + 1} to {stretch.ends}" if stretch.ends > stretch.begins + 1 else f"{stretch.ends}"
        lines.append(f"{span:<10} {stretch.trials:.0f} of {spec.trials}")
    lines.append(
        f"{found.epochs:.0f} epochs in all (without early stopping {spec.trials * spec.max_epochs}): about "
        f"{format_seconds(found.worker_s)} of worker time, {format_seconds(found.wall_s)} with {found.at_once} at once "
        "not counting the start of Ray and the workers"
    )
    if spec.budget:
        lines.append(_of_budget(found, spec, share))
    lines.append("configurations of a space differ in their time per epoch: take it for the order of magnitude")
    lines.append("nothing was stored; without --dry-run the search starts")
    return lines


def _of_budget(found: Forecast, spec: StudySpec, share: Share) -> str:
    ledger = Ledger(spec)
    budget = ledger.budget
    paid = trials_within(spec, budget.hours / ledger.as_hours(found.epoch_s, share))
    need = f"{budget.of(ledger.as_hours(found.worker_s, share))} {budget.named}"
    if paid >= spec.trials:
        more = f"; it would pay for about {paid} trials (--trials)" if paid > spec.trials else ""
        return f"the budget of {budget.words} is enough: about {need} are expected{more}"
    return f"the budget of {budget.words} pays for about {paid} of the {spec.trials} trials, which take about {need}"


def _timed_epoch(
    spec: StudySpec, params: Mapping[str, Value], slots: Slots, cache: Path, files: Mapping[str, bytes]
) -> tuple[float, str]:
    import ray

    from tuner.chosen import keep

    spec = replace(spec, name=f"dry-run-{uuid.uuid4().hex[:8]}")
    folder = study_folder(spec.storage, spec.name)
    try:
        folder.mkdir(parents=True)
        keep(spec, files)
        train = ray.remote(num_cpus=slots.cpus, num_gpus=slots.gpus, max_retries=0)(_train)
        reports = ray.get(train.remote(spec.to_json(), dict(params), str(cache), slots.threads, slots.gpus > 0))
    except OSError as error:
        raise TunerError(f"{folder} cannot be written ({error.strerror or error}): give another --storage") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report = reports[-1]
    if isinstance(report, Failure):
        raise TunerError(f"the median configuration ({format_params(params)}) cannot be trained: {report.detail}")
    return report.seconds, report.worker


def _train(spec_json: str, params: dict[str, Value], cache: str, threads: int, gpu: bool) -> list[Report | Failure]:
    """In a process of Ray's: one epoch, or two if the first was short."""
    from tuner.worker import Worker

    worker = Worker.__new__(Worker)  # Tune's own constructor prepares a folder for logs that nobody writes
    assignment = Assignment(number=0, attempt=1, params=params)
    worker.setup(asdict(assignment), spec_json=spec_json, cache=cache, threads=threads, gpu=gpu)
    reports: list[Report | Failure] = []
    try:
        for _ in range(min(2, StudySpec.from_json(spec_json).max_epochs)):
            reports.append(worker.step()["report"])
            if isinstance(reports[-1], Failure) or reports[-1].seconds > SHORT_S:
                break
    finally:
        worker.cleanup()
    return reports


def _short(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else format_seconds(seconds)
