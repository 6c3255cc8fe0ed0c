"""Measures of how well maps point at the tumours that the source outlined.

The pointing game asks whether the highest place of a map is in the tumour (Zhang et al. 2018, "Top-down neural
attention by excitation backprop"), and the energy is the share of the map that is (Wang et al. 2020, "Score-CAM").
Both are compared with simple maps that need no model.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from trueslice.tables.explanations import Explanations
from trueslice.tables.splits import Splits

DARK = 0.1  # of the brightest pixels; darker ones that are not enclosed are no part of the head


def points(maps: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the value of `inside`, [N, S, S] or [S, S], at the highest place of each map, float [N, S, S]: [N]."""
    highest = maps.reshape(len(maps), -1).argmax(axis=1)
    flat = np.broadcast_to(inside, maps.shape).reshape(len(maps), -1)
    return flat[np.arange(len(maps)), highest]


def energies(maps: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the share of each map, float [N, S, S], that is `inside`, [N, S, S]: float64 [N], 0 for an empty map."""
    sums = maps.sum(axis=(1, 2), dtype=np.float64)
    return (maps * inside).sum(axis=(1, 2), dtype=np.float64) / np.maximum(sums, np.finfo(np.float64).tiny)


def heads(pixels: np.ndarray) -> np.ndarray:
    """Find the head in scans, uint8 [N, S, S]: all that is not dark, and all that it encloses: bool [N, S, S]."""
    least = DARK * np.percentile(pixels, 99, axis=(1, 2), keepdims=True)
    return np.stack([ndimage.binary_fill_holes(scan) for scan in pixels > least])


def masks_of_others(masks: np.ndarray, class_names: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Average the masks of the other units of each scan's class: float64 [N, S, S], NaN where there are none."""
    result = np.full(masks.shape, np.nan)
    for class_name in np.unique(class_names):
        own = class_names == class_name
        for unit in np.unique(units[own]):
            others = own & (units != unit)
            if others.any():
                result[own & (units == unit)] = masks[others].mean(axis=0)
    return result


def fixed_points(masks: np.ndarray, class_names: np.ndarray, known: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Tell whether the best point of its class is in each tumour: bool [N].

    The point is tumour most often in `known`, bool [M, S, S], the masks of scans that are not tested, whose classes are
    `of`. A class without them has no such point, and counts as not hit.
    """
    hits = np.zeros(len(masks), bool)
    for class_name in np.intersect1d(class_names, of):
        best = known[of == class_name].mean(axis=0).argmax()
        own = class_names == class_name
        hits[own] = masks[own].reshape(own.sum(), -1)[:, best]
    return hits


def ceilings(masks: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the best that maps of a grid can reach: pointing, bool [N], and energy, float64 [N].

    `cells`, float [G, S, S], are what each value of the grid adds to a map. No mixture of them beats the best one.
    """
    flat = cells.reshape(len(cells), -1).astype(np.float64)
    inside = masks.reshape(len(masks), -1)
    pointing: np.ndarray = inside[:, flat.argmax(axis=1)].max(axis=1)
    return pointing, (inside @ (flat / flat.sum(axis=1, keepdims=True)).T).max(axis=1)


class Measured(NamedTuple):
    """Maps, masks and pixels of N scans, each of the whole scan with S pixels per side."""

    maps: np.ndarray  # float [N, S, S]
    random: np.ndarray  # maps of the same model with its weights in random order, float [N, S, S]
    masks: np.ndarray  # bool [N, S, S], none empty
    pixels: np.ndarray  # uint8 [N, S, S]
    cells: np.ndarray  # as `ceilings` takes them


def measure(
    scans: Splits, predicted: np.ndarray, measured: Measured, known: Splits, known_masks: np.ndarray
) -> Explanations:
    """Measure explanations of the class `predicted` of N scans, and the maps that they are compared with.

    `known_masks`, bool [M, S, S], none empty, are of M scans that are not tested.
    """
    maps, random, masks, pixels, cells = measured
    inside_head = heads(pixels)
    of_head = np.maximum(inside_head.sum(axis=(1, 2)), 1)
    others = masks_of_others(masks, scans.class_name, scans.unit)
    others = np.where(np.isnan(others), masks.mean(axis=(1, 2), keepdims=True), others)
    pointing, energy = ceilings(masks, cells)
    return Explanations(
        path=scans.path,
        class_name=scans.class_name,
        predicted=predicted,
        unit=scans.unit,
        area=masks.sum(axis=(1, 2)) / of_head,
        pointing=points(maps, masks).astype(float),
        energy=energies(maps, masks),
        uniform=(masks & inside_head).sum(axis=(1, 2)) / of_head,
        other_pointing=points(maps, others),
        other_energy=energies(maps, others),
        fixed_point=fixed_points(masks, scans.class_name, known_masks, known.class_name).astype(float),
        random_pointing=points(random, masks).astype(float),
        random_energy=energies(random, masks),
        ceiling_pointing=pointing.astype(float),
        ceiling_energy=energy,
    )
