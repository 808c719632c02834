"""How many trials a searcher hands out while machines join and leave."""

from __future__ import annotations

import pytest

from tests.factories import new_spec
from tuner.errors import ClusterError
from tuner.search import new_search
from tuner.search.capacity import EMPTY_TIMEOUT_S, LOOK_S, Capacity
from tuner.slots import Node, Slots
from tuner.store.journal import MemoryJournal

GPU = Node(cpus=4, gpus=2)


class Cluster:
    """Machines, and a clock that a test sets."""

    def __init__(self, *nodes: Node) -> None:
        self.nodes = list(nodes)
        self.now_s = 100.0
        self.looks = 0

    def look(self) -> list[Node]:
        self.looks += 1
        return self.nodes

    def clock(self) -> float:
        return self.now_s


def test_the_searcher_hands_out_as_many_attempts_as_there_is_room_for():
    cluster = Cluster(GPU)
    capacity = Capacity(Slots(2, 1, 1.0, 1, most=8), cluster.look, cluster.clock)
    searcher, _ = new_search(new_spec(trials=12), MemoryJournal(), capacity=capacity)
    names = iter(range(100))

    def handed_out() -> int:
        count = 0
        while searcher.suggest(f"tune-{next(names)}") is not None:
            count += 1
        return count

    assert handed_out() == 2
    cluster.nodes = [GPU, GPU, GPU]
    assert handed_out() == 0  # it does not look at the cluster at each question
    cluster.now_s += LOOK_S
    assert handed_out() == 4
    cluster.nodes = [GPU]
    cluster.now_s += LOOK_S
    assert handed_out() == 0
    assert cluster.looks == 2


def test_a_cluster_that_stays_empty_ends_the_search_with_a_line():
    cluster = Cluster()
    capacity = Capacity(Slots(0, 1, 1.0, 1, most=8, can_grow=True), cluster.look, cluster.clock)
    searcher, _ = new_search(new_spec(), MemoryJournal(), capacity=capacity)
    assert isinstance(searcher.suggest("a"), dict)  # what waits makes the cluster grow
    cluster.now_s += EMPTY_TIMEOUT_S - 1
    assert capacity() == 8
    cluster.nodes = [GPU]
    cluster.now_s += LOOK_S
    assert capacity() == 8
    cluster.nodes = []
    cluster.now_s += EMPTY_TIMEOUT_S
    with pytest.raises(ClusterError, match="for 30 minutes the cluster had no GPU"):
        searcher.suggest("b")
    assert searcher.record.stopping
