"""What explanations are worth: how often, and by how much, they point at the tumour that the source outlined.

The pointing game asks whether the highest place of a map lies in the tumour (Zhang et al. 2018, "Top-down neural
attention by excitation backprop"), and the energy is the share of the map that does (Wang et al. 2020, "Score-CAM").
Both are compared with what needs no explanation.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from trueslice.evaluate.intervals import SIGNED, UNIT, Estimate, GroupBootstrap
from trueslice.tables.explanations import Explanations
from trueslice.tables.splits import Splits

DARK = 0.1  # of the brightest pixels; what is darker, and not enclosed, is not a part of the head
# A map and what it is compared with, and the columns of each for both scores.
COLUMNS = {
    "explanation": ("pointing", "energy"),
    "uniform": ("uniform", "uniform"),
    "other_patient": ("other_pointing", "other_energy"),
    "fixed_point": ("fixed_point", "fixed_point"),
    "random_weights": ("random_pointing", "random_energy"),
    "ceiling": ("ceiling_pointing", "ceiling_energy"),
}
SIZES = ("small", "medium", "large")


def points(maps: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """What `inside`, [N, S, S] or [S, S], holds where each map, float [N, S, S], is highest: [N]."""
    highest = maps.reshape(len(maps), -1).argmax(axis=1)
    flat = np.broadcast_to(inside, maps.shape).reshape(len(maps), -1)
    return flat[np.arange(len(maps)), highest]


def energies(maps: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The share of each map, float [N, S, S], that lies `inside`, [N, S, S]: float64 [N], 0 for an empty map."""
    sums = maps.sum(axis=(1, 2), dtype=np.float64)
    return (maps * inside).sum(axis=(1, 2), dtype=np.float64) / np.maximum(sums, np.finfo(np.float64).tiny)


def heads(pixels: np.ndarray) -> np.ndarray:
    """Where the head is in scans, uint8 [N, S, S]: what is not dark, and all that it encloses: bool [N, S, S]."""
    least = DARK * np.percentile(pixels, 99, axis=(1, 2), keepdims=True)
    return np.stack([ndimage.binary_fill_holes(scan) for scan in pixels > least])


def masks_of_others(masks: np.ndarray, class_names: np.ndarray, units: np.ndarray) -> np.ndarray:
    """How often each place is tumour in the scans of the same class of other units: float64 [N, S, S], NaN without."""
    result = np.full(masks.shape, np.nan)
    for class_name in np.unique(class_names):
        own = class_names == class_name
        for unit in np.unique(units[own]):
            others = own & (units != unit)
            if others.any():
                result[own & (units == unit)] = masks[others].mean(axis=0)
    return result


def fixed_points(masks: np.ndarray, class_names: np.ndarray, known: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Whether the best point of its class lies in each tumour: bool [N].

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
    """The best that maps of a grid can reach: pointing, bool [N], and energy, float64 [N].

    Args:
        cells: what each value of the grid adds to a map, float [G, S, S]. No mixture of them beats the best one.
    """
    flat = cells.reshape(len(cells), -1).astype(np.float64)
    inside = masks.reshape(len(masks), -1)
    return inside[:, flat.argmax(axis=1)].any(axis=1), (inside @ (flat / flat.sum(axis=1, keepdims=True)).T).max(axis=1)


class Measured(NamedTuple):
    """What explanations of N scans are measured with, all over the whole scan and S pixels per side."""

    maps: np.ndarray  # float [N, S, S]
    random: np.ndarray  # those of the same model with its weights in random order, float [N, S, S]
    masks: np.ndarray  # bool [N, S, S], none empty
    pixels: np.ndarray  # uint8 [N, S, S]
    cells: np.ndarray  # as `ceilings` takes them


def measure(
    scans: Splits, predicted: np.ndarray, measured: Measured, known: Splits, known_masks: np.ndarray
) -> Explanations:
    """Measure explanations of N scans, and all that they are compared with.

    Args:
        predicted: the class that is explained, str [N].
        known: M scans that are not tested, and their masks, bool [M, S, S], none empty.
    """
    maps, random, masks, pixels, cells = measured
    inside_head = heads(pixels)
    covered = (masks & inside_head).sum(axis=(1, 2)) / np.maximum(inside_head.sum(axis=(1, 2)), 1)
    others = masks_of_others(masks, scans.class_name, scans.unit)
    others = np.where(np.isnan(others), masks.mean(axis=(1, 2), keepdims=True), others)
    pointing, energy = ceilings(masks, cells)
    return Explanations(
        path=scans.path,
        class_name=scans.class_name,
        predicted=predicted,
        unit=scans.unit,
        area=masks.sum(axis=(1, 2)) / np.maximum(inside_head.sum(axis=(1, 2)), 1),
        pointing=points(maps, masks).astype(float),
        energy=energies(maps, masks),
        uniform=covered,
        other_pointing=points(maps, others),
        other_energy=energies(maps, others),
        fixed_point=fixed_points(masks, scans.class_name, known_masks, known.class_name).astype(float),
        random_pointing=points(random, masks).astype(float),
        random_energy=energies(random, masks),
        ceiling_pointing=pointing.astype(float),
        ceiling_energy=energy,
    )


def score(table: Explanations) -> dict:
    """The content of metrics/explain.json."""
    if not len(table):
        return {"scans": 0, "shown": False, "reason": "no mask of a test scan is known", "rows": [], "differences": []}
    differences = list(_differences(table))
    ahead = next(row for row in differences if (row["score"], row["against"]) == ("pointing", "fixed_point"))
    shown = ahead["low"] is not None and ahead["low"] > 0
    told = "points" if shown else "does not point"
    reason = (
        f"it {told} at tumours more often than the best fixed point of each class does, as far as the interval says"
    )
    rows = [row for by, name, own in _parts(table) for row in _rows(table.take(own), by, name)]
    return {"scans": len(table), "shown": shown, "reason": reason, "rows": rows, "differences": differences}


def _parts(table: Explanations) -> Iterator[tuple[str, str | None, np.ndarray]]:
    """All scans; those of a class; thirds by size; and those that were answered right or wrong."""
    yield "all", None, np.ones(len(table), bool)
    for name in np.unique(table.class_name).tolist():
        yield "class", name, table.class_name == name
    third = np.searchsorted(np.quantile(table.area, [1 / 3, 2 / 3]), table.area)
    for place, name in enumerate(SIZES):
        yield "size", name, third == place
    right = table.predicted == table.class_name
    yield "answer", "right", right
    yield "answer", "wrong", ~right


def _rows(table: Explanations, by: str, name: str | None) -> Iterator[dict]:
    if not len(table):
        return
    bootstrap = GroupBootstrap(table.unit)
    for column, score in enumerate(("pointing", "energy")):
        for of, columns in COLUMNS.items():
            value, interval = _mean(getattr(table, columns[column]), bootstrap)
            counts = {"scans": len(table), "units": len(np.unique(table.unit))}
            limits = {"low": interval.low, "high": interval.high}
            yield {"by": by, "value_of": name, "score": score, "of": of, "value": value} | limits | counts


def _mean(values: np.ndarray, bootstrap: GroupBootstrap) -> Estimate:
    is_share = np.isin(values, (0, 1)).all()
    return bootstrap.share(values == 1, values >= 0) if is_share else bootstrap.mean(values, UNIT)


def _differences(table: Explanations) -> Iterator[dict]:
    bootstrap = GroupBootstrap(table.unit)
    for column, score in enumerate(("pointing", "energy")):
        for against, columns in list(COLUMNS.items())[1:]:
            own = getattr(table, score)
            value, interval = bootstrap.mean(own - getattr(table, columns[column]), SIGNED)
            yield {"score": score, "against": against, "value": value, "low": interval.low, "high": interval.high}
