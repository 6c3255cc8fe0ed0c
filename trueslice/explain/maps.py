"""Explanations of many scans at a small size, and what they are measured with."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from trueslice.explain.attribution import enlarged, explain, grid_side
from trueslice.model.encoder import Encoder
from trueslice.model.pixels import BATCH, Pixels

SIDE = 64  # pixels per side at which maps are kept and measured


def maps(
    encoder: Encoder, scans: Pixels, captions: list[list[str]], targets: np.ndarray, method: Callable = explain
) -> np.ndarray:
    """Explain the class `targets`, int [N], of each of N scans by a method like `explain`: float32 [N, SIDE, SIDE]."""
    with torch.no_grad():
        embeddings = encoder.encode_classes(captions)
    results = [np.zeros((0, SIDE, SIDE), np.float32)]
    for places in torch.arange(len(scans)).split(BATCH):
        found = method(encoder, scans.take(places), embeddings, torch.as_tensor(targets)[places])
        results.append(_at_side(found).cpu().numpy())
    return np.concatenate(results)


def cells(encoder: Encoder) -> np.ndarray:
    """Return the contribution of each value of the grid to a map: float32 [G, SIDE, SIDE]."""
    side = grid_side(encoder)
    each = torch.eye(side * side).reshape(-1, side, side)
    return _at_side(enlarged(each, encoder.image_size)).numpy()


def in_random_order(encoder: Encoder) -> None:
    """Put the values of every weight of the image tower in a random order.

    An explanation that is about what the model learned must change (Adebayo et al. 2018, "Sanity checks for saliency
    maps"). The order leaves each layer's scale as it is, which drawing new weights would not for every family.
    """
    generator = torch.Generator().manual_seed(0)
    for weight in encoder.model.vision_model.parameters():
        order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
        weight.data = weight.data.flatten()[order].view_as(weight)


def _at_side(found: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(found[:, None], (SIDE, SIDE), mode="bilinear", antialias=True)[:, 0]
