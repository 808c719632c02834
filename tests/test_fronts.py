"""Layers of non-dominated points, and who goes on past a rung by them."""

from __future__ import annotations

import random

import pytest

from tuner import asha, fronts


def dominates(one, other):
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))


def slow_layers(points):
    """By the definition: what no point left dominates is taken away, again and again."""
    found, left, layer = {}, set(range(len(points))), 0
    while left:
        layer += 1
        front = {one for one in left if not any(dominates(points[other], points[one]) for other in left)}
        found |= dict.fromkeys(front, layer)
        left -= front
    return [found[index] for index in range(len(points))]


@pytest.mark.parametrize("objectives", [1, 2, 3])
@pytest.mark.parametrize("distinct", [3, 1000])
def test_layers_are_what_is_left_undominated_again_and_again(objectives, distinct):
    draw = random.Random(objectives * distinct)
    for count in range(40):
        points = [tuple(draw.randrange(distinct) / 7 for _ in range(objectives)) for _ in range(count)]
        assert fronts.layers(points) == slow_layers(points)


@pytest.mark.parametrize(
    ("point", "go_on", "rank", "layer"),
    [
        ((0.5, -1.0), True, 1, 1),  # nobody is as cheap
        ((0.95, -9.0), True, 1, 1),  # nobody is as good
        ((0.9, -5.0), True, 1, 1),  # as good and as cheap as one on the front
        ((0.85, -5.0), True, 4, 2),  # behind the front of three, of nine that came
        ((0.6, -8.0), False, 6, 3),
    ],
)
def test_who_is_on_the_front_or_in_the_layers_of_the_best_third_goes_on(point, go_on, rank, layer):
    front = [(0.9, -5.0), (0.8, -4.0), (0.7, -3.0)]
    behind = [(0.8, -6.0), (0.7, -5.0), (0.5, -9.0), (0.4, -9.5), (0.3, -10.0), (0.2, -11.0), (0.1, -12.0)]
    decision = fronts.decide(point, [*front, *behind], 3)
    assert (decision.go_on, decision.rank, decision.layer) == (go_on, rank, layer)
    assert (decision.peers, decision.cutoff) == (10, None)


def test_the_first_arrival_goes_on():
    assert fronts.decide((0.1, -100.0), [], 3) == asha.Decision(True, 1, 0, None, layer=1)


def test_with_one_number_it_stops_whom_the_rule_for_scores_stops():
    draw = random.Random(0)
    for count in range(60):
        peers = draw.sample(range(10_000), count)
        score = draw.choice([one for one in range(10_000) if one not in peers])
        of_points = fronts.decide((float(score),), [(float(peer),) for peer in peers], 3)
        of_scores = asha.decide(score, peers, 3)
        assert of_points.rank == of_scores.rank
        # Between two peers the cutoff for scores is interpolated; the ranks next to it may differ.
        if abs(of_points.rank - 1 - (count - 1) / 3) >= 1:
            assert of_points.go_on == of_scores.go_on


def test_for_promotion_the_better_layer_goes_first_then_the_score_then_the_lower_number():
    points = {4: (0.5, -1.0), 2: (0.9, -9.0), 7: (0.5, -2.0), 1: (0.4, -2.0), 0: (0.4, -2.0)}
    assert fronts.ranked(points) == [2, 4, 7, 0, 1]
