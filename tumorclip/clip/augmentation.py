"""Random flips, turns, shifts and zooms, for a whole batch at once, on the device."""

import math

import torch
from torch.nn import functional


def random_affine(
    pixels: torch.Tensor,
    generator: torch.Generator,
    horizontal_flip: float,
    rotation: float,
    translation: float,
    scale: float,
) -> torch.Tensor:
    """Move every scan of a batch by its own random affine map; what comes in from outside is black.

    Args:
        pixels: any dtype, [B, C, S, S].
        generator: on the CPU, so that the same seed draws the same maps for every device.
        horizontal_flip: probability of a left-right flip, 0 to 1.
        rotation: largest turn either way, degrees.
        translation: largest shift either way along each axis, as a share of the side.
        scale: zoom factors lie between 1 - scale and 1 + scale.

    Returns:
        float32 [B, C, S, S], bilinear between pixels.
    """
    batch = len(pixels)
    chance, turn, zoom, right, down = torch.rand((5, batch), generator=generator)
    flip = torch.where(chance < horizontal_flip, -1.0, 1.0)
    angle = (2 * turn - 1) * math.radians(rotation)
    zoom = 1 + (2 * zoom - 1) * scale
    # affine_grid takes the map from a result's pixel back to its source, in units of half the side.
    cosine, sine = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    shift_x, shift_y = (2 * translation * (2 * share - 1) for share in (right, down))
    matrices = torch.stack([flip * cosine, flip * sine, shift_x, -sine, cosine, shift_y], dim=1).view(batch, 2, 3)
    grid = functional.affine_grid(matrices.to(pixels.device), list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
