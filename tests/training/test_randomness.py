from __future__ import annotations

import torch

from tuner.training.randomness import TrialRandomness

_CPU = torch.device("cpu")


def _draw(randomness: TrialRandomness) -> list[float]:
    with randomness.as_default():
        default = torch.rand(2)
    return [*default.tolist(), *torch.rand(2, generator=randomness.generator).tolist()]


def test_two_trials_in_one_process_do_not_disturb_each_other() -> None:
    alone = TrialRandomness(1, _CPU)
    expected = [_draw(alone), _draw(alone)]
    first, second = TrialRandomness(1, _CPU), TrialRandomness(2, _CPU)
    found = [_draw(first)]
    _draw(second)
    found.append(_draw(first))
    assert found == expected
    assert found[0] != found[1]


def test_the_streams_of_everybody_else_stay_as_they_were() -> None:
    before = torch.get_rng_state()
    _draw(TrialRandomness(1, _CPU))
    assert torch.equal(torch.get_rng_state(), before)


def test_restored_streams_go_on_where_they_were() -> None:
    one, two = TrialRandomness(1, _CPU), TrialRandomness(5, _CPU)
    _draw(one)
    two.load(one.tensors())
    assert _draw(one) == _draw(two)


def test_streams_of_another_device_start_as_seeded() -> None:
    one, two = TrialRandomness(1, _CPU), TrialRandomness(1, _CPU)
    two.load({"generator_cuda": torch.zeros(16, dtype=torch.uint8)})
    assert _draw(one) == _draw(two)
