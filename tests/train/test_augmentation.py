import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from trueslice.train.augmentation import Augmentation

NOTHING = {"horizontal_flip": 0.0, "rotation": 0.0, "translation": 0.0, "scale": 0.0}


def scans(count: int = 64, side: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (count, 1, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def moved(pixels: torch.Tensor, seed: int = 0, **settings) -> torch.Tensor:
    augmentation = Augmentation(**(NOTHING | settings))
    return augmentation.apply(pixels, augmentation.draw(len(pixels), torch.Generator().manual_seed(seed)))


def spot(row: int, column: int, side: int = 33) -> torch.Tensor:
    pixels = torch.zeros((200, 1, side, side))
    pixels[:, :, row - 1 : row + 2, column - 1 : column + 2] = 1
    return pixels


def centres(pixels: torch.Tensor) -> np.ndarray:
    return np.array([ndimage.center_of_mass(scan) for scan in pixels[:, 0].numpy()])


def test_no_movement_leaves_every_pixel():
    torch.testing.assert_close(moved(scans()), scans().float(), atol=1e-2, rtol=0)


def test_the_same_seed_moves_alike_and_another_seed_does_not():
    everything = {"horizontal_flip": 0.5, "rotation": 10.0, "translation": 0.1, "scale": 0.1}
    assert torch.equal(moved(scans(), **everything), moved(scans(), **everything))
    assert not torch.equal(moved(scans(), **everything), moved(scans(), seed=1, **everything))


def test_a_flip_is_left_to_right_and_as_frequent_as_asked():
    always = moved(scans(), horizontal_flip=1.0)
    torch.testing.assert_close(always, scans().float().flip(-1), atol=1e-2, rtol=0)
    flipped = (moved(scans(2000, 8), horizontal_flip=0.3) - scans(2000, 8)).flatten(1).abs().amax(1) > 1
    assert 0.25 < flipped.float().mean() < 0.35


def test_a_shift_stays_within_its_share_of_the_side_and_goes_all_four_ways():
    shifts = (centres(moved(spot(16, 16), translation=0.25)) - 16) / 33
    assert (np.abs(shifts) <= 0.25 + 1e-3).all()
    assert (shifts.max(0) > 0.22).all() and (shifts.min(0) < -0.22).all()


def test_a_turn_stays_within_its_degrees_and_keeps_the_distance_from_the_centre():
    offsets = centres(moved(spot(16, 26), rotation=20.0)) - 16
    degrees = np.degrees(np.arctan2(offsets[:, 0], offsets[:, 1]))
    assert np.abs(degrees).max() <= 20.5
    assert degrees.max() > 18 and degrees.min() < -18
    np.testing.assert_allclose(np.hypot(*offsets.T), 10, atol=0.3)


def test_a_zoom_stays_within_its_factors():
    factors = (centres(moved(spot(16, 26), scale=0.2))[:, 1] - 16) / 10
    assert 0.79 < factors.min() < 0.83 and 1.17 < factors.max() < 1.21


def test_a_flipped_and_turned_scan_is_not_sheared():
    # Distances between two spots survive a turn with a flip, in whichever order they are composed.
    pixels = spot(16, 26) + spot(8, 16)
    both = moved(pixels, horizontal_flip=1.0, rotation=30.0)
    assert abs(both.sum((1, 2, 3)) - pixels.sum((1, 2, 3))).max() < 0.8


def test_scans_are_moved_as_pytorch_moves_them():
    everything = {"horizontal_flip": 0.5, "rotation": 10.0, "translation": 0.1, "scale": 0.1}
    augmentation = Augmentation(**everything)
    maps = augmentation.draw(64, torch.Generator().manual_seed(0))
    grid = functional.affine_grid(maps, [64, 1, 32, 32], align_corners=False)
    expected = functional.grid_sample(scans().float(), grid, align_corners=False)
    torch.testing.assert_close(augmentation.apply(scans(), maps), expected, atol=1e-2, rtol=0)


def test_bf16_moves_no_pixel():
    everything = {"horizontal_flip": 0.5, "rotation": 10.0, "translation": 0.1, "scale": 0.1}
    expected = moved(scans(), **everything)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(moved(scans(), **everything), expected)
