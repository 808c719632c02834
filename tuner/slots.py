"""How many trials can run at once, from what the machines have and what the user asked for: pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tuner.errors import ClusterError
from tuner.packing import AUTO, named, smallest_part
from tuner.spec import Resources

THIS_MACHINE = "this machine"
CLUSTER = "the cluster"


@dataclass(frozen=True)
class Node:
    """What one living machine of the cluster offers to trials."""

    cpus: int
    gpus: int


@dataclass(frozen=True)
class Slots:
    """What trials can run at once.

    count: trials at once now. cpus, gpus: what each of them reserves (gpus may be a fraction). threads: of torch, each.
    notes: lines to tell the user before the search starts. most: trials at once when machines join; None is no limit.
    can_grow: the cluster adds machines for what waits. smallest_part: below 1, a slot is shared by trials of which each
    takes a part of its GPU, at least such a one.
    """

    count: int
    cpus: int
    gpus: float
    threads: int
    notes: tuple[str, ...] = ()
    most: int | None = None
    can_grow: bool = False
    smallest_part: float = 1.0

    def room(self, nodes: Sequence[Node]) -> int:
        """Trials for which `nodes` have room, up to `most`; other users of the cluster are not looked at."""
        room = 0
        for node in nodes:
            by_cpu = node.cpus // self.cpus
            room += min(by_cpu, round(node.gpus / self.gpus)) if self.gpus else by_cpu
        return room if self.most is None else min(room, self.most)

    def at_once(self, room: int) -> int:
        """Trials to hand out at once where there is room for `room` of them.

        As many as are wanted if the cluster adds machines for what waits; at least one, which then starts as soon as a
        machine joins.
        """
        return self.most if self.can_grow and self.most is not None else max(1, room)


def count_slots(nodes: Sequence[Node], resources: Resources, where: str, *, can_grow: bool = False) -> Slots:
    """Slots on `nodes`; `where` names them in messages ("this machine"), `can_grow` says that there is an autoscaler.

    Each trial runs on one machine, so what it reserves has to fit there. Raises ClusterError if there is no GPU of
    those asked for, or no CPU at all, and none can join.
    """
    there = sum(node.gpus for node in nodes)
    if resources.gpus == 0 or (resources.gpus is None and there == 0):
        if resources.gpus is None and can_grow:
            raise ClusterError(f"{where} has no GPU now but can grow: say how many with --gpus N, or --gpus 0 for CPUs")
        notes = () if resources.gpus == 0 else (f"{where} has no GPU: training on CPUs",)
        return _cpu_slots(nodes, resources.workers, where, notes, can_grow)
    per_gpu = resources.slots_per_gpu
    most = None if resources.gpus is None else resources.gpus * per_gpu
    part = _smallest_part(nodes) if resources.trials_per_gpu == AUTO else 1.0
    slots = Slots(0, 1, 1.0 / per_gpu, 1, most=most, can_grow=can_grow, smallest_part=part)
    wanted = there if resources.gpus is None else resources.gpus
    if there == 0 and not can_grow:
        raise ClusterError(f"{where} has no GPU, {wanted} asked for: give --gpus 0 to train on CPUs")
    notes = (_fewer(there, wanted, where, can_grow),) if there < wanted else ()
    if resources.trials_per_gpu == AUTO:
        notes = (*notes, _of_sharing(part))
    return replace(slots, count=slots.room(nodes), notes=notes)


def _smallest_part(nodes: Sequence[Node]) -> float:
    return smallest_part(min((node.cpus / node.gpus for node in nodes if node.gpus), default=math.inf))


def _of_sharing(part: float) -> str:
    if part == 1:
        return "with one CPU core a GPU no trials share one"
    return f"trials share GPUs as soon as the first have told how much memory they take: {named(part)} each, or more"


def _fewer(there: int, wanted: int, where: str, can_grow: bool) -> str:
    begin = f"starting with {there}" if there else "waiting for machines that have some"
    later = ", taking up others as they join" if there and where != THIS_MACHINE else ""
    return f"{where} has {there} of the {wanted} GPUs asked for{' and can grow' if can_grow else ''}: {begin}{later}"


def _cpu_slots(nodes: Sequence[Node], workers: int, where: str, notes: tuple[str, ...], can_grow: bool) -> Slots:
    """As many CPUs for each of `workers` trials as the machines have room for."""
    most = max((node.cpus for node in nodes), default=0)
    if most < 1 and not can_grow:
        raise ClusterError(f"{where} has no CPU that trials may use: start Ray with --num-cpus above 0")
    for cpus in range(most, 0, -1):
        room = sum(node.cpus // cpus for node in nodes)
        if room >= workers:
            return Slots(workers, cpus, 0.0, cpus, notes, workers, can_grow)
    room = sum(node.cpus for node in nodes)
    note = f"{where} has {room} CPUs: {room} trials at once, not {workers}"
    return Slots(room, 1, 0.0, 1, (*notes, note), workers, can_grow)
