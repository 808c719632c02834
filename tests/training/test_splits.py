from __future__ import annotations

import numpy as np

from tuner.training.splits import held_out_names, stratified_indices

SPLIT_OF_SEED_7 = [3, 7, 10, 16]


def test_each_class_gives_its_share_and_no_index_is_lost() -> None:
    labels = np.repeat([0, 1, 2], [100, 50, 3])
    kept, held = stratified_indices(labels, 0.1, seed=0)
    assert np.bincount(labels[held]).tolist() == [10, 5, 1]
    assert sorted([*kept, *held]) == list(range(153))


def test_the_split_of_a_seed_never_changes() -> None:
    labels = np.tile([0, 1], 10)
    assert stratified_indices(labels, 0.2, seed=7)[1].tolist() == SPLIT_OF_SEED_7
    assert stratified_indices(labels, 0.2, seed=8)[1].tolist() != SPLIT_OF_SEED_7


def test_a_large_share_leaves_one_of_each_class() -> None:
    kept, held = stratified_indices(np.zeros(2, np.int64), 0.5, seed=0)
    assert (len(kept), len(held)) == (1, 1)


def test_a_new_name_moves_at_most_one_other_across() -> None:
    names = [f"cat/{number}.jpg" for number in range(100)]
    before = held_out_names(names, 0.15)
    for extra in range(20):
        after = held_out_names([*names, f"cat/new-{extra}.jpg"], 0.15)
        assert len(before - after) <= 1
    assert len(before) == 15
    assert held_out_names(names[::-1], 0.15) == before
