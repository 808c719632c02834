"""How many trials run at once, from what the machines have and what the user asked for."""

import pytest

from tuner.errors import ClusterError
from tuner.slots import Node, Slots, count_slots
from tuner.spec import Resources

GPU_NODES = [Node(cpus=32, gpus=4), Node(cpus=32, gpus=4)]
CPU_NODES = [Node(cpus=8, gpus=0)] * 8


def count(nodes, **resources):
    return count_slots(nodes, Resources(**resources), "the cluster")


@pytest.mark.parametrize(
    ("nodes", "resources", "expected"),
    [
        (GPU_NODES, {"gpus": 8}, Slots(8, 1, 1.0, 1, most=8)),
        (GPU_NODES, {"gpus": None}, Slots(8, 1, 1.0, 1)),
        (GPU_NODES, {"gpus": 2, "trials_per_gpu": 4}, Slots(8, 1, 0.25, 1, most=8)),
        ([Node(2, 4)], {"gpus": 4}, Slots(2, 1, 1.0, 1, most=4)),  # each trial needs a CPU beside its GPU
        (GPU_NODES, {"gpus": 0, "workers": 4}, Slots(4, 16, 0.0, 16, most=4)),
        ([Node(16, 0)], {"gpus": 0, "workers": 2}, Slots(2, 8, 0.0, 8, most=2)),
        (CPU_NODES, {"gpus": 0, "workers": 2}, Slots(2, 8, 0.0, 8, most=2)),  # not 32, which no machine has
        # 4 CPUs each would leave room for two only
        ([Node(6, 0), Node(6, 0)], {"gpus": 0, "workers": 3}, Slots(3, 3, 0.0, 3, most=3)),
        ([Node(0, 0), Node(4, 0)], {"gpus": 0, "workers": 2}, Slots(2, 2, 0.0, 2, most=2)),  # a head node without CPUs
    ],
)
def test_each_trial_fits_on_a_machine_and_all_have_room(nodes, resources, expected):
    assert count(nodes, **resources) == expected


def test_trials_that_share_gpus_by_their_memory_count_gpus_and_say_how_small_their_parts_may_be():
    slots = count(GPU_NODES, gpus=None, trials_per_gpu="auto")
    note = "trials share GPUs as soon as the first have told how much memory they take: 1/8 of a GPU each, or more"
    assert slots == Slots(8, 1, 1.0, 1, (note,), smallest_part=0.125)
    few_cores = count([Node(64, 4), Node(8, 4)], gpus=2, trials_per_gpu="auto")
    assert (few_cores.most, few_cores.smallest_part) == (2, 0.5)
    one_core = count([Node(4, 4)], gpus=4, trials_per_gpu="auto")
    assert (one_core.smallest_part, one_core.notes[-1]) == (1.0, "with one CPU core a GPU no trials share one")
    assert count(CPU_NODES, gpus=0, workers=2, trials_per_gpu="auto") == count(CPU_NODES, gpus=0, workers=2)


def test_fewer_gpus_than_asked_for_is_said_and_the_search_starts_with_those():
    slots = count(GPU_NODES, gpus=16)
    note = "the cluster has 8 of the 16 GPUs asked for: starting with 8, taking up others as they join"
    assert (slots.count, slots.most, slots.notes) == (8, 16, (note,))
    here = count_slots([Node(8, 1)], Resources(gpus=2), "this machine")
    assert here.notes == ("this machine has 1 of the 2 GPUs asked for: starting with 1",)


def test_a_cluster_that_can_grow_is_asked_for_all_by_as_many_trials_that_wait():
    slots = count_slots([Node(8, 0)], Resources(gpus=4, trials_per_gpu=2), "the cluster", can_grow=True)
    note = "the cluster has 0 of the 4 GPUs asked for and can grow: waiting for machines that have some"
    assert (slots.count, slots.at_once(0), slots.notes) == (0, 8, (note,))
    with pytest.raises(ClusterError, match="no GPU now but can grow: say how many with --gpus N"):
        count_slots([Node(8, 0)], Resources(gpus=None), "the cluster", can_grow=True)


def test_machines_that_join_are_taken_up_and_those_that_leave_are_missed_up_to_what_was_asked_for():
    slots = count(GPU_NODES, gpus=10)
    more = [*GPU_NODES, Node(32, 4)]
    assert [slots.at_once(slots.room(nodes)) for nodes in (GPU_NODES, more, GPU_NODES[:1], [])] == [8, 10, 4, 1]
    assert count(GPU_NODES, gpus=None).room(more) == 12


def test_fewer_cpus_than_workers_is_said_and_the_search_starts_with_those():
    slots = count([Node(2, 0), Node(1, 0)], gpus=0, workers=9)
    assert slots == Slots(3, 1, 0.0, 1, ("the cluster has 3 CPUs: 3 trials at once, not 9",), most=9)


def test_no_gpu_at_all_is_refused_by_number_and_named_without():
    with pytest.raises(ClusterError, match="the cluster has no GPU, 2 asked for: give --gpus 0"):
        count(CPU_NODES, gpus=2)
    assert count(CPU_NODES, gpus=None, workers=2).notes == ("the cluster has no GPU: training on CPUs",)


def test_no_cpu_at_all_is_refused():
    with pytest.raises(ClusterError, match="no CPU that trials may use"):
        count([Node(0, 0)], gpus=0)
