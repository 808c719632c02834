"""Which part of a GPU a trial gets: pure arithmetic on what earlier trials held."""

import random

import pytest

from tuner.errors import UsageError
from tuner.packing import (
    CONTEXT_BYTES,
    MARGIN,
    WORK_SPACE_BYTES,
    Memory,
    Predictor,
    limit_bytes,
    named,
    parse_trials_per_gpu,
    smallest_part,
)

MIB, GIB = 1 << 20, 1 << 30
PARTS = (0.125, 0.25, 0.5, 1.0)


def seen(*held, total=16 * GIB, resident=0):
    """A predictor that was told of trials: (bytes by theory, bytes held)."""
    predictor = Predictor(0.125)
    for number, (theory, own) in enumerate(held):
        predictor.held(number, theory, Memory(own + resident, resident, total))
    return predictor


def test_before_any_trial_has_told_what_it_holds_each_has_a_whole_gpu():
    assert [Predictor(0.125).part(theory) for theory in (1, GIB, None)] == [1.0, 1.0, 1.0]


def test_a_trial_gets_the_smallest_part_that_holds_what_others_like_it_held():
    predictor = seen((100 * MIB, 356 * MIB))  # beyond the work space as much as theory says
    need = [predictor.predicted(theory * MIB) for theory in (100, 1000, 4000, 9000, 40_000)]
    assert need == [WORK_SPACE_BYTES + int(MARGIN * theory * MIB) for theory in (100, 1000, 4000, 9000, 40_000)]
    assert [predictor.part(theory * MIB) for theory in (100, 1000, 4000, 9000, 40_000)] == [0.125, 0.25, 0.5, 1.0, 1.0]


def test_a_data_set_that_lies_on_the_gpu_takes_its_room_in_each_process():
    assert seen((100 * MIB, 300 * MIB), resident=1 * GIB).part(100 * MIB) == 0.25
    assert seen((100 * MIB, 300 * MIB), resident=6 * GIB).part(100 * MIB) == 0.5


def test_what_is_unknown_counts_as_the_largest_that_was_seen():
    assert seen((100 * MIB, 300 * MIB), (500 * MIB, 2 * GIB)).part(None) == 0.25
    assert seen((None, 5 * GIB)).part(None) == 0.5


def test_trials_that_hold_less_than_theory_says_do_not_make_larger_ones_seem_small():
    assert seen((GIB, WORK_SPACE_BYTES // 2)).predicted(4 * GIB) >= 4 * GIB


def test_one_trial_in_twenty_that_is_unlike_the_others_decides_nothing_for_long():
    usual = [(100 * MIB, 356 * MIB)] * 19
    assert seen(*usual[:18], (1 * MIB, 4 * GIB)).part(100 * MIB) == 1.0
    assert seen(*usual, (1 * MIB, 4 * GIB)).part(100 * MIB) == 0.125


def test_a_part_that_was_too_small_makes_the_prediction_larger_and_is_never_given_again():
    predictor = seen((100 * MIB, 356 * MIB))
    assert predictor.part(200 * MIB) == 0.125
    predictor.ran_out(7, 200 * MIB, 0.125)
    assert predictor.part(200 * MIB) == 0.25
    assert [predictor.part(1, at_least=part) for part in PARTS] == list(PARTS)


def test_of_unequal_gpus_the_smallest_decides():
    predictor = seen((None, 3 * GIB), total=80 * GIB)
    assert predictor.part(None) == 0.125
    predictor.held(1, None, Memory(3 * GIB, 0, 8 * GIB))
    assert predictor.part(None) == 1.0


@pytest.mark.parametrize("seed", range(20))
def test_what_is_predicted_of_trials_that_share_a_gpu_is_never_more_than_it_has(seed):
    draw = random.Random(seed)
    total, resident = draw.choice([8, 16, 24, 80]) * GIB, draw.randrange(3 * GIB)
    held = [(draw.choice([None, draw.randrange(1, 4 * GIB)]), draw.randrange(6 * GIB)) for _ in range(30)]
    predictor = seen(*held, total=total, resident=resident)
    for number in range(5):
        predictor.ran_out(100 + number, draw.choice([None, draw.randrange(1, GIB)]), draw.choice(PARTS[:-1]))
    free, on_gpu = 1.0, []
    for _ in range(200):
        theory = draw.choice([None, draw.randrange(1, 8 * GIB)])
        part = predictor.part(theory)
        assert part in PARTS
        assert part == 1 or predictor.part((theory or 0) // 2 or theory) <= part, "less by theory never gets more"
        if part <= free:
            free -= part
            on_gpu.append((part, CONTEXT_BYTES + resident + predictor.predicted(theory)))
        elif on_gpu:  # some trial ends
            free += on_gpu.pop(draw.randrange(len(on_gpu)))[0]
        assert sum(need for part, need in on_gpu if part < 1) <= total
        assert sum(CONTEXT_BYTES + limit_bytes(part, total) for part, _ in on_gpu) <= total, "nor what they may hold"
        assert len(on_gpu) == 1 or all(part < 1 for part, _ in on_gpu), "what may need all is alone"


@pytest.mark.parametrize(
    ("cpus_per_gpu", "part"), [(64.0, 0.125), (8.0, 0.125), (7.9, 0.25), (2.0, 0.5), (1.0, 1.0), (0.5, 1.0)]
)
def test_no_more_trials_share_a_gpu_than_there_are_cores_for_them(cpus_per_gpu, part):
    assert smallest_part(cpus_per_gpu) == part


def test_a_number_or_auto_is_understood_and_nothing_else():
    assert [parse_trials_per_gpu(given) for given in ("4", 2, "auto", " Auto ", None)] == [4, 2, "auto", "auto", None]
    for given in ("many", "0", 0, -1, 2.5, "", True):
        with pytest.raises(UsageError, match="give a whole number from 1 on, or auto"):
            parse_trials_per_gpu(given)


def test_parts_have_names():
    assert [named(part) for part in PARTS] == ["1/8 of a GPU", "1/4 of a GPU", "1/2 of a GPU", "a whole GPU"]
