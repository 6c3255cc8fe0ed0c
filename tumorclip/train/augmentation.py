"""Random flips, turns, shifts and zooms, for a whole batch at once, on the device."""

import math

import torch
from torch.nn import functional


def draw_affine(
    count: int, generator: torch.Generator, horizontal_flip: float, rotation: float, translation: float, scale: float
) -> torch.Tensor:
    """Draw affine maps, one per scan.

    Args:
        count: B.
        generator: on the CPU, so that the same seed draws the same maps for every device.
        horizontal_flip: probability of a left-right flip, 0 to 1.
        rotation: largest turn either way, degrees.
        translation: largest shift either way along each axis, as a share of the side.
        scale: zoom factors lie between 1 - scale and 1 + scale.

    Returns:
        float32 [B, 2, 3] on the CPU, from a result's pixel back to its source, in units of half the side.
    """
    chance, turn, zoom, right, down = torch.rand((5, count), generator=generator)
    flip = torch.where(chance < horizontal_flip, -1.0, 1.0)
    angle = (2 * turn - 1) * math.radians(rotation)
    zoom = 1 + (2 * zoom - 1) * scale
    cosine, sine = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    shift_x, shift_y = (2 * translation * (2 * share - 1) for share in (right, down))
    return torch.stack([flip * cosine, flip * sine, shift_x, -sine, cosine, shift_y], dim=1).view(count, 2, 3)


def apply_affine(pixels: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Move every scan by its own map; what comes in from outside is black.

    Args:
        pixels: any dtype, [B, C, S, S].
        maps: as `draw_affine` gives them, on any device.

    Returns:
        float32 [B, C, S, S], bilinear between pixels.
    """
    grid = functional.affine_grid(maps.to(pixels.device), list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
