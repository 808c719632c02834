from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tuner.training import augment as module
from tuner.training.augment import Moves, augment
from tuner.training.config import Hyperparameters


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _pictures(count: int = 64, side: int = 32) -> Tensor:
    return torch.randn(count, 3, side, side, generator=_generator(99))


def test_nothing_is_done_and_nothing_is_drawn_at_strength_0_without_flips() -> None:
    images, generator = _pictures(), _generator()
    assert augment(images, 0.0, False, generator) is images
    assert torch.equal(generator.get_state(), _generator().get_state())


def test_flips_alone_mirror_about_half_and_change_nothing_else() -> None:
    images = _pictures(1000, 8)
    flipped = augment(images, 0.0, True, _generator())
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    same = (flipped == images).flatten(1).all(1)
    assert bool((mirrored ^ same).all())
    assert 430 < int(mirrored.sum()) < 570


def test_a_strength_near_0_is_the_identity() -> None:
    images = _pictures()
    assert torch.allclose(augment(images, 1e-9, False, _generator()), images, atol=1e-4)


def test_the_transform_mirrors_exactly_like_a_flip() -> None:
    images = _pictures()
    moved = augment(images, 1e-9, True, _generator())
    same = (moved - images).abs().flatten(1).amax(1) < 1e-4
    mirrored = (moved - images.flip(3)).abs().flatten(1).amax(1) < 1e-4
    assert bool((same ^ mirrored).all())
    assert 16 < int(mirrored.sum()) < 48


def test_each_picture_gets_a_change_of_its_own() -> None:
    one = _pictures(1)
    moved = augment(one.repeat(32, 1, 1, 1), 1.0, False, _generator())
    assert len({picture.numpy().tobytes() for picture in moved}) >= 30


def test_the_same_generator_state_gives_the_same_pictures_and_the_next_differ() -> None:
    images, generator = _pictures(), _generator()
    first, second = augment(images, 0.7, True, generator), augment(images, 0.7, True, generator)
    assert torch.equal(first, augment(images, 0.7, True, _generator()))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_a_stronger_augmentation_erases_more_and_never_more_than_its_largest_side(strength: float) -> None:
    erased = module._rectangles(torch.rand(5, 4000, generator=_generator()), 32, 32, strength)
    share = erased.flatten(1).any(1).float().mean().item()
    assert abs(share - 0.5 * strength) < 0.04
    assert int(erased.any(3).sum(2).max()) <= round(0.5 * strength * 32) + 1
    assert int(erased.any(2).sum(2).max()) <= round(0.5 * strength * 32) + 1


def test_pictures_that_are_only_shifted_keep_their_exact_values() -> None:
    # All randoms 0.5 but the shift: no rotation, shear or zoom.
    randoms = torch.full((7, 1), 0.5)
    randoms[3] = 1.0
    theta = module._affine(randoms, 32, 32, 1.0, False)
    images = _pictures(1)
    grid = torch.nn.functional.affine_grid(theta, [1, 3, 32, 32], align_corners=False)
    moved = torch.nn.functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    shift = round(0.15 * 32)
    assert torch.allclose(moved[..., :-shift], images[..., shift:], atol=1e-4)


def test_the_largest_rotation_is_20_degrees_and_nothing_but_a_rotation() -> None:
    # The largest angle: rows of the matrix stay orthonormal.
    randoms = torch.full((7, 1), 0.5)
    randoms[0], randoms[5] = 1.0, 0.0
    matrix = module._affine(randoms, 32, 32, 1.0, False)[0, :, :2]
    assert torch.allclose(matrix @ matrix.T, torch.eye(2), atol=1e-5)
    assert abs(torch.rad2deg(torch.acos(matrix[0, 0])).item() - 20) < 1e-2


def test_the_result_is_finite_and_channels_last() -> None:
    moved = augment(_pictures(), 1.0, True, _generator())
    assert moved.is_contiguous(memory_format=torch.channels_last)
    assert bool(moved.isfinite().all())


def test_moves_alone_draw_evenly_up_to_their_limits_for_every_picture_and_erase_nothing() -> None:
    moves = Moves(rotation_rad=0.7, shift=0.2, shear=0.2, zoom=0.2)
    randoms = torch.rand(7, 4000, generator=_generator())
    theta = module._affine(randoms, 400, 400, 0.0, False, moves)
    angle = torch.atan2(theta[:, 1, 0], theta[:, 0, 0])
    scale = 1 / theta[:, :, 0].norm(dim=1)
    shift = theta[:, :, 2] / 2
    for found, limit in ((angle, 0.7), (scale - 1, 0.2), (shift[:, 0], 0.2), (shift[:, 1], 0.2)):
        assert 0.95 * limit < float(found.max()) <= 1.03 * limit
        assert float(found.std()) == pytest.approx(limit / 3**0.5, rel=0.05)
    ones = torch.ones(200, 1, 16, 16)
    assert torch.allclose(augment(ones, 0.0, False, _generator(), moves), ones)


def test_moves_come_on_top_of_the_strength() -> None:
    randoms = torch.full((7, 1), 0.5)
    randoms[0], randoms[5] = 1.0, 0.0
    matrix = module._affine(randoms, 32, 32, 1.0, False, Moves(rotation_rad=math.radians(40)))[0]
    assert math.degrees(math.acos(matrix[0, 0])) == pytest.approx(60, abs=1e-2)


def test_beyond_the_border_a_picture_is_reflected_or_its_last_pixels_go_on() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    randoms = torch.full((12, 1), 0.5)
    randoms[3] = 1.0
    rows = {}
    for fill in ("reflect", "nearest"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "rand", lambda *_, **__: randoms)
            rows[fill] = augment(ramp, 0.0, False, _generator(), Moves(shift=0.25, fill=fill))[0, 0, 0].tolist()
    assert rows["reflect"] == pytest.approx([2, 3, 4, 5, 6, 7, 7, 6], abs=1e-4)
    assert rows["nearest"] == pytest.approx([2, 3, 4, 5, 6, 7, 7, 7], abs=1e-4)


def test_moves_of_a_configuration_are_its_numbers_and_by_default_nothing() -> None:
    hp = Hyperparameters(rotation_degrees=180, shift=0.1, shear=0.2, zoom=0.3, fill="nearest")
    assert Moves.of(hp) == Moves(math.pi, 0.1, 0.2, 0.3, "nearest")
    assert not Moves.of(Hyperparameters(fill="nearest")).moves_anything
