"""How many trials can run at once, from what the machines have and what the user asked for: pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.errors import ClusterError
from tuner.spec import Resources


@dataclass(frozen=True)
class Node:
    """What one living machine of the cluster offers to trials."""

    cpus: int
    gpus: int


@dataclass(frozen=True)
class Slots:
    """What trials can run at once.

    count: trials at once. cpus, gpus: what each of them reserves (gpus may be a fraction). threads: of torch, each.
    notes: lines to tell the user before the search starts.
    """

    count: int
    cpus: int
    gpus: float
    threads: int
    notes: tuple[str, ...] = ()


def count_slots(nodes: Sequence[Node], resources: Resources, where: str) -> Slots:
    """Slots on `nodes`; `where` names them in messages ("this machine").

    Each trial runs on one machine, so what it reserves has to fit there. Raises ClusterError if there is no GPU of
    those asked for, or no CPU at all.
    """
    there = sum(node.gpus for node in nodes)
    wanted = there if resources.gpus is None else resources.gpus
    if wanted == 0:
        notes = () if resources.gpus == 0 else (f"{where} has no GPU: training on CPUs",)
        return _cpu_slots(nodes, resources.workers, where, notes)
    if there == 0:
        raise ClusterError(f"{where} has no GPU, {wanted} asked for: give --gpus 0 to train on CPUs")
    notes = (f"{where} has {there} of the {wanted} GPUs asked for: starting with {there}",) if there < wanted else ()
    return Slots(min(there, wanted) * resources.trials_per_gpu, 1, 1.0 / resources.trials_per_gpu, 1, notes)


def _cpu_slots(nodes: Sequence[Node], workers: int, where: str, notes: tuple[str, ...]) -> Slots:
    """As many CPUs for each of `workers` trials as the machines have room for."""
    most = max((node.cpus for node in nodes), default=0)
    if most < 1:
        raise ClusterError(f"{where} has no CPU that trials may use: start Ray with --num-cpus above 0")
    for cpus in range(most, 0, -1):
        room = sum(node.cpus // cpus for node in nodes)
        if room >= workers:
            return Slots(workers, cpus, 0.0, cpus, notes)
    room = sum(node.cpus for node in nodes)
    return Slots(room, 1, 0.0, 1, (*notes, f"{where} has {room} CPUs: {room} trials at once, not {workers}"))
