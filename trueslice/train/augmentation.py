"""Random flips, rotations, shifts and zooms of a whole batch at once, on the device."""

import math
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch.nn import functional

from trueslice.device import to_device
from trueslice.params import Train


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes. Every setting is a field: cached features are found by their values."""

    horizontal_flip: float  # probability of a left-right flip, 0 to 1
    rotation: float  # largest angle in both directions, degrees
    translation: float  # largest shift in both directions along each axis, as a share of the side
    scale: float  # zoom factors are drawn from 1 - scale to 1 + scale

    @classmethod
    def of(cls, config: Train) -> Self:
        """Take the parameters of the same names."""
        return cls(**{field.name: getattr(config, field.name) for field in fields(cls)})

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Draw B = `count` affine maps from a pixel of the result to its source, in units of half the side.

        Return float32 [B, 2, 3] on the CPU, where a seed draws the same values for every device.
        """
        chance, turn, zoom, right, down = torch.rand((5, count), generator=generator)
        flip = torch.where(chance < self.horizontal_flip, -1.0, 1.0)
        angle = (2 * turn - 1) * math.radians(self.rotation)
        zoom = 1 + (2 * zoom - 1) * self.scale
        cosine = torch.cos(angle) / zoom
        sine = torch.sin(angle) / zoom
        shift_x = 2 * self.translation * (2 * right - 1)
        shift_y = 2 * self.translation * (2 * down - 1)
        return torch.stack([flip * cosine, flip * sine, shift_x, -sine, cosine, shift_y], dim=1).view(count, 2, 3)

    def apply(self, pixels: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """Transform scans, any dtype [B, C, S, S], bilinearly by maps from `draw`: float32 [B, C, S, S]."""
        grid = source_grid(to_device(maps, pixels.device), pixels.shape[-1])
        return functional.grid_sample(pixels.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def source_grid(maps: torch.Tensor, side: int) -> torch.Tensor:
    """Return the source of each pixel of the result, float32 [B, S, S, 2], for maps [B, 2, 3].

    Sums are faster than the product in `functional.affine_grid`, and stay in float32 under autocast.
    """
    centres = (2 * torch.arange(side, device=maps.device) + 1 - side) / side
    across, down, shift = maps[..., None].unbind(2)
    # With x and y in planes of their own, several pixels are written at a time.
    planes = (across * centres)[:, :, None, :] + (down * centres + shift)[:, :, :, None]
    return planes.permute(0, 2, 3, 1)
