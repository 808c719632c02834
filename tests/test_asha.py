"""The ASHA rule, as a table: libraries disagree about these rows, so they are the specification."""

import math

import pytest

from tuner.asha import Decision, decide, default_grace_period, rung_levels


@pytest.mark.parametrize(
    ("max_epochs", "grace", "eta", "levels"),
    [
        (27, 1, 3, (1, 3, 9)),  # max_epochs itself is no rung: whoever gets there is complete
        (27, 2, 4, (2, 8)),
        (9, 1, 4, (1, 4)),
        (5, 5, 4, ()),
        (4, 9, 4, ()),
        (1, 1, 2, ()),
    ],
)
def test_rungs_are_grace_times_powers_of_eta_below_max_epochs(max_epochs, grace, eta, levels):
    assert rung_levels(max_epochs, grace, eta) == levels


@pytest.mark.parametrize(("grace", "eta"), [(0, 4), (-1, 4), (1, 1), (1, 0)])
def test_numbers_that_make_no_rungs_are_refused(grace, eta):
    with pytest.raises(ValueError, match="must be at least"):
        rung_levels(27, grace, eta)


@pytest.mark.parametrize(("max_epochs", "grace"), [(1, 2), (12, 2), (27, 2), (36, 3), (100, 8)])
def test_the_grace_period_is_a_twelfth_but_at_least_two(max_epochs, grace):
    assert default_grace_period(max_epochs) == grace


@pytest.mark.parametrize(
    ("case", "score", "peers", "eta", "direction", "expected"),
    [
        ("first arrival goes on", 0.1, [], 4, "maximize", Decision(True, 1, 0, None)),
        ("one peer, worse than it", 0.4, [0.5], 4, "maximize", Decision(False, 2, 1, 0.5)),
        ("one peer, better than it", 0.6, [0.5], 4, "maximize", Decision(True, 1, 1, 0.5)),
        ("a tie goes on", 0.5, [0.5], 4, "maximize", Decision(True, 1, 1, 0.5)),
        ("all equal, all go on", 0.5, [0.5, 0.5, 0.5, 0.5], 4, "maximize", Decision(True, 1, 4, 0.5)),
        # fewer peers than eta: the percentile is interpolated, 0.2 + 0.75 * (0.6 - 0.2) = 0.5
        ("fewer peers than eta, at the cut", 0.5, [0.2, 0.6], 4, "maximize", Decision(True, 2, 2, 0.5)),
        ("fewer peers than eta, below it", 0.49, [0.2, 0.6], 4, "maximize", Decision(False, 2, 2, 0.5)),
        (
            "five peers, at the 75th percentile",
            0.4,
            [0.1, 0.2, 0.3, 0.4, 0.5],
            4,
            "maximize",
            Decision(True, 2, 5, 0.4),
        ),
        ("five peers, below it", 0.39, [0.1, 0.2, 0.3, 0.4, 0.5], 4, "maximize", Decision(False, 3, 5, 0.4)),
        ("order of arrival does not matter", 0.4, [0.5, 0.1, 0.4, 0.3, 0.2], 4, "maximize", Decision(True, 2, 5, 0.4)),
        ("eta 2 cuts at the median", 0.3, [0.1, 0.3, 0.5], 2, "maximize", Decision(True, 2, 3, 0.3)),
        ("minimise: lower goes on", 0.2, [0.1, 0.2, 0.3, 0.4, 0.5], 4, "minimize", Decision(True, 2, 5, 0.2)),
        ("minimise: higher stops", 0.3, [0.1, 0.2, 0.3, 0.4, 0.5], 4, "minimize", Decision(False, 3, 5, 0.2)),
        ("minimise: a tie goes on", 1.5, [1.5], 4, "minimize", Decision(True, 1, 1, 1.5)),
        ("negative scores", -1.0, [-2.0, -3.0], 2, "maximize", Decision(True, 1, 2, -2.5)),
    ],
)
def test_the_rule(case, score, peers, eta, direction, expected):
    found = decide(score, peers, eta, direction)
    assert (found.go_on, found.rank, found.peers) == (expected.go_on, expected.rank, expected.peers), case
    assert found.cutoff == (None if expected.cutoff is None else pytest.approx(expected.cutoff)), case


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_enters_no_rung(score):
    with pytest.raises(ValueError, match="finite"):
        decide(score, [0.5], 4)
    with pytest.raises(ValueError, match="finite"):
        decide(0.5, [score], 4)


def test_with_many_peers_about_one_in_eta_goes_on():
    import random

    generator = random.Random(0)
    peers: list[float] = []
    went_on = 0
    for _ in range(400):
        score = generator.random()
        went_on += decide(score, peers, 4).go_on
        peers.append(score)
    assert 90 <= went_on <= 120
