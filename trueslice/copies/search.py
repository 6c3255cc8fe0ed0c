"""The search for copies: scans that show the same picture, with other contrast, sharpness or size, mirrored or turned.

Two scans are compared by the correlation of their thumbnails, 64 x 64 block means, in all eight orientations of
a square. A smaller thumbnail, 16 x 16, finds the candidates, so that the cost grows with the square of the number of
scans but the memory only with the number itself. Candidates that correlate less than copies do are then aligned
(alignment.py) and compared again.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from trueslice.copies.groups import exact_copies, group
from trueslice.copies.thumbnails import (
    KINDS,
    RESOLUTION,
    Pictures,
    blocks,
    linear,
    products_by_kind,
    shrunk,
    thumbnails,
    turned,
    whole_units,
)
from trueslice.params import Verify
from trueslice.progress import Progress
from trueslice.tables.scans import Groups, Pairs

FINEST, COARSE = 128, 16  # blocks per side
# Coarse correlation is nearly always above the fine one, as averages hide differences: among the 15,000 pairs of the
# Kaggle brain tumour data with a fine correlation of 0.98 or more the lowest coarse one is below it by 0.004.
COARSE_MARGIN = 0.02
# In slices of one head, skull and background alone can lift the correlation over a threshold (to 0.9812 in the Kaggle
# data). Below this, windows of the picture must agree too; above, copies may be sharpened too much for that.
SURE = 0.9825
NEIGHBOURS = 4  # every scan is a candidate with at least so many others
# Coarsely, a symmetric head is nearly its own mirror image: only the fine thumbnail tells.
ORIENTATION_MARGIN = 0.1
# Once they are framed, the true one is the best of all 1,795 pairs that alignment finds in the Kaggle data and PMRAM.
FRAMED_MARGIN = 0.03
# Correlation that the last steps, in float64, may add to that of a copy: 0.0023 at most in the Kaggle data.
SETTLING_MARGIN = 0.01
ROUNDING_MARGIN = 1e-3  # that float64 may add to float32, and more
ALIGNMENT_BYTES = 2**19  # of working memory for each pair that is aligned, or scan that is framed, more or less


class ScanImages(NamedTuple):
    """N decoded scans to compare; the arrays have one order."""

    pixels: "np.ndarray | Joined"  # uint8 [N, S, S] or [N, S, S, 3]; may be memory-mapped
    thumbnails: np.ndarray  # float32 [N, 64, 64], as `thumbnails` computes them
    pixel_hash: np.ndarray  # str [N]


class Joined:
    """Arrays of equal shape but for their length as one array; only the rows that are asked for are in memory."""

    def __init__(self, *parts: "np.ndarray | Joined"):
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])
        self.shape: tuple[int, ...] = (int(self._ends[-1]), *parts[0].shape[1:])
        self.dtype: np.dtype = parts[0].dtype
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        rows = np.arange(len(self))[rows]
        taken = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for part, end in zip(self._parts, self._ends, strict=True):
            inside = (rows >= end - len(part)) & (rows < end)
            taken[inside] = part[rows[inside] - (end - len(part))]
        return taken


class Copies(NamedTuple):
    """Copies among N scans."""

    pairs: Pairs  # all scans that are copies of each other, sorted by rows
    # float64 [N], highest correlation of each scan with another, without alignment; 1 for an exact copy.
    best_matches: np.ndarray
    # float64 [P, 2, 3], from every place in scan a of a pair to the same one in b; places run from -1 to 1, x and y.
    maps: np.ndarray


def find(images: ScanImages, params: Verify, device: str, known: int = 0) -> Copies:
    """Pair all scans that are copies of each other; the CPU decides, `device` only seeks candidates.

    An exact copy is paired with the first scan of the same pixels, and only that one is compared with the others. The
    first `known` scans are not compared with each other but with the later ones alone.
    """
    exact = exact_copies(images.pixel_hash.tolist())
    distinct = np.setdiff1d(np.arange(len(images.pixel_hash)), exact.b)
    means = images.thumbnails[distinct]
    a, b = candidates(means, params.copy_threshold - COARSE_MARGIN, device, int(np.searchsorted(distinct, known)))
    kinds, correlations = best_orientations(means, a, b)

    alike = correlations >= params.copy_threshold
    groups = group(len(means), Pairs(a, b, kinds, correlations).take(alike & (correlations >= SURE)))
    unsure = groups[a] != groups[b]
    # Doubtful pairs, and pairs that are not alike as they are, are decided once they are aligned.
    aligned, maps = np.full(len(a), -1.0), _maps_of(kinds)
    aligned[unsure], moved = _aligned(
        (a[unsure], b[unsure]), means, lambda rows: thumbnails(images.pixels[distinct[rows]], FINEST), params
    )
    maps[unsure & ~alike] = moved[~alike[unsure]]
    kinds = np.where(alike, kinds, "aligned")
    found = (alike & ~unsure) | (aligned >= 0)
    pairs = Pairs(
        np.concatenate([exact.a, distinct[a[found]]]),
        np.concatenate([exact.b, distinct[b[found]]]),
        np.concatenate([exact.kind, kinds[found]]),
        np.concatenate([exact.correlation, np.where(alike, correlations, aligned)[found]]),
    )
    best_matches = np.full(len(images.pixel_hash), -1.0)
    for rows in (distinct[a], distinct[b]):
        np.maximum.at(best_matches, rows, correlations)
    best_matches[np.concatenate([exact.a, exact.b])] = 1
    order = np.lexsort((pairs.b, pairs.a))
    order = order[pairs.b[order] >= known]
    maps = np.concatenate([_maps_of(np.full(len(exact), "near")), maps[found]])
    return Copies(pairs.take(order), best_matches, maps[order])


def weakest_pairs(means: np.ndarray, groups: np.ndarray) -> Groups:
    """Pair the two scans of every group of copies that correlate least, without alignment, the weakest groups first.

    A chain of copies may join scans that are not copies. `means` are thumbnails, `groups` the same number for copies.
    """
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    with threadpool_limits(1, "blas"):  # for small products, threads cost more than they bring
        pairs = [_least_alike(means, rows) if len(rows) > 2 else rows for rows in members if len(rows) > 1]
    a, b = np.array(pairs, dtype=int).reshape(-1, 2).T
    kinds, correlations = best_orientations(means, a, b)
    files = np.bincount(groups)[groups[a]]
    return Groups(groups[a], files, a, b, kinds, correlations).take(np.argsort(correlations, kind="stable"))


def _least_alike(means: np.ndarray, rows: np.ndarray) -> tuple[int, int]:
    pictures, lowest, pair = Pictures(means[rows]), np.inf, (0, 0)
    for block in blocks(len(rows), 8 * (3 * len(rows) + means[0].size)):
        some = Pictures(means[rows[block]])
        best = np.max([some.correlate_all(pictures, kind) for kind in KINDS], axis=0)
        best[np.arange(len(best)), np.arange(block.start, block.stop)] = np.inf  # a scan with itself
        a, b = np.unravel_index(best.argmin(), best.shape)
        if best[a, b] < lowest:
            lowest, pair = best[a, b], (block.start + a, b)
    return tuple(np.sort(rows[list(pair)]))


def nearest_training(test_means: np.ndarray, train_means: np.ndarray) -> np.ndarray:
    """Compute the highest correlation of each test thumbnail, [T, 64, 64], with a training one: float64 [T]."""
    nearest = np.full(len(test_means), -1.0)
    bytes_each = 3 * 8 * train_means[0].size
    for columns in blocks(len(train_means), bytes_each):
        train = Pictures(train_means[columns])
        for rows in blocks(len(test_means), bytes_each):
            test = Pictures(test_means[rows])
            for kind in KINDS:
                nearest[rows] = np.maximum(nearest[rows], train.correlate_all(test, kind).max(axis=0))
    return nearest


def candidates(means: np.ndarray, floor: float, device: str = "cpu", known: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Find the pairs of thumbnails that correlate coarsely at `floor` or more, and the neighbours of every scan.

    Neighbours are the scans most alike as they are, and once both are framed, which undoes most of a shift, stretch or
    crop. Return rows a < b, int [P] each, sorted. The first `known` are not compared with each other.
    """
    # They load PyTorch, which the processes that decode scans can do without.
    from trueslice.copies.alignment import framed
    from trueslice.copies.neighbours import most_alike

    if len(means) < 2:
        return np.empty(0, int), np.empty(0, int)
    floor, neighbours = floor * RESOLUTION**2, min(NEIGHBOURS, len(means) - 1)
    plain = most_alike(_coarse_units(means, shrunk), floor, neighbours, device, known)
    alike = plain.products >= floor  # excluded now, so that many copies of a scan leave room for others
    excluded = plain.a[alike], plain.b[alike]
    moved = most_alike(_coarse_units(means, framed), np.inf, neighbours, device, known, excluded)
    keys = np.concatenate([found.a * len(means) + found.b for found in (plain, moved)])
    return np.divmod(np.unique(keys), len(means))


def best_orientations(means: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the orientations in which rows `b` correlate most with rows `a`: kinds, str [P], and float64 [P]."""
    pictures, units = Pictures(means), _coarse_units(means, shrunk)
    kinds, correlations = np.empty(len(a), int), np.empty(len(a))
    for block in blocks(len(a), 8 * 8 * len(KINDS)):
        possible = _possible(products_by_kind(units, a[block], b[block], np.float32), ORIENTATION_MARGIN)
        by_kind = np.where(possible, pictures.correlate_pairs(a[block], b[block]), -1)
        kinds[block], correlations[block] = by_kind.argmax(axis=1), by_kind.max(axis=1)
    return np.array(KINDS)[kinds], correlations


def _aligned(pairs: tuple, means: np.ndarray, finest: Callable, params: Verify) -> tuple[np.ndarray, np.ndarray]:
    """Align pairs of rows: correlations, float64 [P], -1 where they are no copies, and maps of copies, [P, 2, 3]."""
    from trueslice.copies.alignment import Thumbnails, align, compare, framed, promising, settle, side_by_side

    a, b = pairs
    by_kind = products_by_kind(_coarse_units(means, framed), a, b, np.float32)
    possible = _possible(by_kind, FRAMED_MARGIN) & _among_nearest(a, b, by_kind.max(axis=1))[:, None]
    pictures = Thumbnails(means)
    best, best_maps = np.full(len(a), -1.0), np.zeros((len(a), 2, 3))
    for column, kind in enumerate(Progress(KINDS, desc="aligning")):
        at = np.flatnonzero(possible[:, column])
        found, maps = align(pictures, (a[at], b[at]), kind, params)
        at = at[found]

        def settle_block(block: slice, kind: str = kind, at: np.ndarray = at, maps: np.ndarray = maps) -> None:
            rows, moved = at[block], maps[block]
            first, second = finest(a[rows]), _turn(finest(b[rows]), kind)
            for margin in (SETTLING_MARGIN, ROUNDING_MARGIN):
                kept = promising(first, second, moved, params.copy_threshold - margin)
                rows, first, second, moved = rows[kept], first[kept], second[kept], moved[kept]
                if margin == SETTLING_MARGIN:
                    moved = settle(pictures, (a[rows], b[rows]), kind, moved)
            fit = compare(first, second, moved)
            better = (fit.correlation >= params.copy_threshold) & (fit.local >= params.local_threshold)
            better &= (fit.overlap >= params.min_overlap) & (fit.correlation > best[rows])
            best[rows[better]] = fit.correlation[better]
            best_maps[rows[better]] = linear(kind) @ moved[better]

        side_by_side(settle_block, blocks(len(at), ALIGNMENT_BYTES, share=4))
    return best, best_maps


def _maps_of(kinds: np.ndarray) -> np.ndarray:
    """Return the maps of pairs in the orientations `kinds`, as in `Copies`: float64 [P, 2, 3]."""
    maps = np.zeros((len(kinds), 2, 3))
    for kind in KINDS:
        maps[kinds == kind, :, :2] = linear(kind)
    return maps


def _turn(means: np.ndarray, kind: str) -> np.ndarray:
    return means.reshape(len(means), -1)[:, turned(means.shape[1], kind)].reshape(means.shape)


def _among_nearest(a: np.ndarray, b: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Tell which pairs are among the NEIGHBOURS nearest, the first of equals, with the same `a` or `b`: bool [P]."""
    nearest = np.zeros(len(a), bool)
    for rows in (a, b):
        order = np.lexsort((-products, rows))
        ordered = rows[order]
        place = np.arange(len(rows)) - np.searchsorted(ordered, ordered)
        nearest[order[place < NEIGHBOURS]] = True
    return nearest


def _possible(by_kind: np.ndarray, margin: float) -> np.ndarray:
    """Tell which orientations may be the best one by coarse products, float32 [P, 8]: bool [P, 8]."""
    return by_kind >= by_kind.max(axis=1, keepdims=True) - margin * RESOLUTION**2


def _coarse_units(means: np.ndarray, bring: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
    """Compute the whole units of thumbnails that `bring`, `shrunk` or `framed`, makes coarse: float32 [N, 256]."""
    result = np.empty((len(means), COARSE * COARSE), np.float32)
    for block in blocks(len(means), ALIGNMENT_BYTES):
        result[block] = whole_units(bring(means[block], COARSE))
    return result
