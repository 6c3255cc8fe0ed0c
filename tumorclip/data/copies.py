"""Which scans show the same picture, with other contrast, sharpness, size or JPEG quality, mirrored or turned.

Two scans are compared by the correlation of their thumbnails, 64 x 64 block means, in all eight ways in which a square
can lie. A smaller thumbnail, 16 x 16, finds the candidates, so that the cost grows with the square of the number of
scans but the memory only with the number itself. Candidates that correlate less than copies do are then aligned
(alignment.py) and compared again.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from tumorclip.data.alignment import align, compare, framed
from tumorclip.data.groups import exact_copies, group
from tumorclip.data.thumbnails import (
    KINDS,
    RESOLUTION,
    Pictures,
    blocks,
    linear,
    shrunk,
    thumbnails,
    turned,
    whole_units,
)
from tumorclip.params import Verify
from tumorclip.tables import Groups, Pairs

FINEST, COARSE = 128, 16  # blocks per side
# Coarse correlation is nearly always above the fine one, as averages hide what differs: among the 15,000 pairs of the
# Kaggle brain tumour data with a fine correlation of 0.98 or more the lowest coarse one is below it by 0.004.
COARSE_MARGIN = 0.02
# In slices of one head, skull and background alone can lift the correlation over a threshold (to 0.9812 in the Kaggle
# data). Below this, windows of the picture must agree too; above, copies may be sharpened too much for that.
SURE = 0.9825
NEIGHBOURS = 4  # candidates for alignment that every scan has at least
# Coarsely, a symmetric head is nearly its own mirror image: only the fine thumbnail tells.
ORIENTATION_MARGIN = 0.1
ALIGNMENT_BYTES = 2**19  # of working memory for each pair that is aligned, more or less


class Copies(NamedTuple):
    """What is found among N scans."""

    pairs: Pairs  # all scans that are copies of each other, sorted by rows
    # float64 [N], how much each scan correlates with the one most like it, without alignment; 1 for an exact copy.
    best_matches: np.ndarray
    # float64 [P, 2, 3], from every place in scan a of a pair to the same one in b; places run from -1 to 1, x and y.
    maps: np.ndarray


def find(
    pixels: np.ndarray, pixel_hashes: np.ndarray, params: Verify, device: str, workers: int, known: int = 0
) -> Copies:
    """Pair all scans that are copies of each other.

    An exact copy is paired with the first scan of the same pixels, and only that one is compared with the others.

    Args:
        pixels: uint8 [N, S, S] or [N, S, S, 3]; may be memory-mapped.
        pixel_hashes: str [N].
        device: where candidates are sought, as `tumorclip.device.pick_device` gives it; the CPU decides what they are.
        workers: threads that align pairs.
        known: how many scans, the first ones, are not compared with each other but with the later ones alone.
    """
    exact = exact_copies(pixel_hashes.tolist())
    distinct = np.setdiff1d(np.arange(len(pixel_hashes)), exact.b)
    means = thumbnails(pixels)[distinct]
    a, b = candidates(means, params.copy_threshold - COARSE_MARGIN, device, int(np.searchsorted(distinct, known)))
    kinds, correlations = best_orientations(means, a, b)

    alike = correlations >= params.copy_threshold
    groups = group(len(means), Pairs(a, b, kinds, correlations).take(alike & (correlations >= SURE)))
    unsure = groups[a] != groups[b]
    # What is alike but not sure, and what is not alike, must prove itself once aligned.
    aligned, maps = np.full(len(a), -1.0), _lying(kinds)
    aligned[unsure], moved = _aligned(
        (a[unsure], b[unsure]), means, lambda rows: thumbnails(pixels[distinct[rows]], FINEST), params, workers
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
    best_matches = np.full(len(pixel_hashes), -1.0)
    for rows in (distinct[a], distinct[b]):
        np.maximum.at(best_matches, rows, correlations)
    best_matches[np.concatenate([exact.a, exact.b])] = 1
    order = np.lexsort((pairs.b, pairs.a))
    order = order[pairs.b[order] >= known]
    maps = np.concatenate([_lying(np.full(len(exact), "near")), maps[found]])
    return Copies(pairs.take(order), best_matches, maps[order])


def weakest_pairs(means: np.ndarray, groups: np.ndarray) -> Groups:
    """Pair the two scans of every group of copies that correlate least, as they best lie and without alignment.

    A chain of copies may join scans that are not copies of each other; the groups where that happened come first.
    `means` are thumbnails, float32 [N, 64, 64]; `groups` is the same number for copies of each other, int [N].
    """
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    a, b = np.array([_least_alike(means, rows) for rows in members if len(rows) > 1], dtype=int).reshape(-1, 2).T
    kinds, correlations = best_orientations(means, a, b)
    files = np.bincount(groups)[groups[a]]
    return Groups(groups[a], files, a, b, kinds, correlations).take(np.argsort(correlations, kind="stable"))


def _least_alike(means: np.ndarray, rows: np.ndarray) -> tuple[int, int]:
    pictures, lowest, pair = Pictures(means[rows]), np.inf, (0, 0)
    for block in blocks(len(rows), 8 * (3 * len(rows) + means[0].size)):
        some = Pictures(means[rows[block]])
        best = np.max([some.correlate_all(pictures, kind) for kind in KINDS], axis=0)
        best[np.arange(len(best)), np.arange(block.start, block.stop)] = np.inf  # a scan beside itself
        a, b = np.unravel_index(best.argmin(), best.shape)
        if best[a, b] < lowest:
            lowest, pair = best[a, b], (block.start + a, b)
    return tuple(np.sort(rows[list(pair)]))


def nearest_training(test_means: np.ndarray, train_means: np.ndarray) -> np.ndarray:
    """How much each test scan correlates with the training scan most like it, as they lie best: float64 [T].

    From thumbnails, float32 [T, 64, 64] and [N, 64, 64], at least one.
    """
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
    """Find every pair that correlates coarsely at `floor` or more in some orientation, and neighbours of every scan.

    Neighbours are the scans most alike as they are, and those most alike once both are framed, which undoes most of a
    shift, a stretch or a crop. From thumbnails, float32 [N, 64, 64], to rows a < b of each pair, int [P], sorted. The
    first `known` rows are not compared with each other, nor given neighbours.
    """
    count, neighbours = len(means), min(NEIGHBOURS, len(means) - 1)
    plain = _products_on(device, _coarse_units(means, shrunk))
    moved = _products_on(device, _coarse_units(means, framed))
    found = [np.empty(0, np.int64)]
    for block in blocks(count - known, 5 * 4 * count):
        block = slice(known + block.start, known + block.stop)
        rows = np.arange(block.start, block.stop)
        best = plain(block)
        a, b = np.nonzero(best >= floor * RESOLUTION**2)
        found += [_keys(rows[a], b, count), _keys(*_nearest(rows, best, neighbours), count)]
        best = moved(block)
        best[a, b] = -(RESOLUTION**2)  # so that many copies of a scan leave room for others
        found.append(_keys(*_nearest(rows, best, neighbours), count))
    return np.divmod(np.unique(np.concatenate(found)), count)


def best_orientations(means: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How the rows `b` lie to correlate most with the rows `a`, and how much: kinds, str [P], and float64 [P]."""
    pictures = Pictures(means)
    possible = _possible(_products_by_kind(_coarse_units(means, shrunk), a, b))
    by_kind = np.full(possible.shape, -1.0)
    for column, kind in enumerate(KINDS):
        at = np.flatnonzero(possible[:, column])
        by_kind[at, column] = pictures.correlate_pairs(a[at], b[at], kind)
    return np.array(KINDS)[by_kind.argmax(axis=1)], by_kind.max(axis=1)


def _aligned(
    pairs: tuple, means: np.ndarray, finest: Callable, params: Verify, workers: int
) -> tuple[np.ndarray, np.ndarray]:
    """How much pairs of rows correlate once aligned: float64 [P], -1 where they are not copies; and the maps of copies.

    `finest` gives the thumbnails of rows in FINEST blocks per side. Maps are as in `Copies`, float64 [P, 2, 3].
    """
    a, b = pairs
    by_kind = _products_by_kind(_coarse_units(means, framed), a, b)
    possible = _possible(by_kind) & _among_nearest(a, b, by_kind.max(axis=1))[:, None]

    def aligned(kind: str, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, second = means[a[at]], _turn(means[b[at]], kind)
        maps, promising = align(first, second, params.copy_threshold, params.min_overlap)
        result = np.full(len(at), -1.0)
        at = at[promising]
        if len(at):
            fit = compare(finest(a[at]), _turn(finest(b[at]), kind), maps[promising])
            is_copy = (fit.correlation >= params.copy_threshold) & (fit.local >= params.local_threshold)
            is_copy &= fit.overlap >= params.min_overlap
            result[promising] = np.where(is_copy, fit.correlation, -1)
        return result, linear(kind) @ maps

    tasks = [
        (kind, at[block])
        for column, kind in enumerate(KINDS)
        for at in [np.flatnonzero(possible[:, column])]
        for block in blocks(len(at), ALIGNMENT_BYTES, share=4)  # several at once share the memory
    ]
    best, best_maps = np.full(len(a), -1.0), np.zeros((len(a), 2, 3))
    with ThreadPoolExecutor(workers) as pool:
        results = tqdm(pool.map(lambda task: aligned(*task), tasks), total=len(tasks), desc="aligning", disable=None)
        for (_, at), (correlations, maps) in zip(tasks, results, strict=True):
            better = correlations > best[at]
            best[at[better]], best_maps[at[better]] = correlations[better], maps[better]
    return best, best_maps


def _lying(kinds: np.ndarray) -> np.ndarray:
    """The maps of pairs that lie as `kinds` say, as in `Copies`: float64 [P, 2, 3]."""
    maps = np.zeros((len(kinds), 2, 3))
    for kind in KINDS:
        maps[kinds == kind, :, :2] = linear(kind)
    return maps


def _turn(means: np.ndarray, kind: str) -> np.ndarray:
    return means.reshape(len(means), -1)[:, turned(means.shape[1], kind)].reshape(means.shape)


def _among_nearest(a: np.ndarray, b: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Which pairs are among the NEIGHBOURS nearest ones of either scan, the first of equals: bool [P]."""
    nearest = np.zeros(len(a), bool)
    for rows in (a, b):
        order = np.lexsort((-products, rows))
        ordered = rows[order]
        place = np.arange(len(rows)) - np.searchsorted(ordered, ordered)
        nearest[order[place < NEIGHBOURS]] = True
    return nearest


def _products_on(device: str, units: np.ndarray) -> Callable[[slice], np.ndarray]:
    """A function that multiplies a block of `units`, as `whole_units` gives them, with all rows, as they lie best.

    It returns float32 [rows, N], whole numbers, with minus infinity where a scan meets itself.
    """
    if device == "cpu":
        there, maximum, back = units, np.maximum, np.asarray
    else:
        import torch

        there, maximum, back = torch.from_numpy(units).to(device), torch.maximum, lambda numbers: numbers.cpu().numpy()

    def products(block: slice) -> np.ndarray:
        own = there[block]
        best = own @ there.T
        for kind in KINDS[1:]:
            best = maximum(best, own[:, turned(COARSE, kind)] @ there.T)
        best = back(best)
        best[np.arange(len(best)), np.arange(block.start, block.stop)] = -np.inf
        return best

    return products


def _nearest(rows: np.ndarray, products: np.ndarray, neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """Each of `rows` beside each of its `neighbours` nearest ones, by products [rows, N]."""
    count = products.shape[1]
    # All keys of a row differ, and of equal products the first counts: which ones are chosen depends on no CPU.
    keys = products.astype(np.float64) * count - np.arange(count)
    nearest = np.argpartition(keys, count - neighbours - 1, axis=1)[:, count - neighbours :]
    return np.repeat(rows, neighbours), nearest.ravel()


def _possible(by_kind: np.ndarray) -> np.ndarray:
    """Orientations that may be the best one by coarse products, float32 [P, 8]: bool [P, 8]."""
    return by_kind >= by_kind.max(axis=1, keepdims=True) - ORIENTATION_MARGIN * RESOLUTION**2


def _products_by_kind(units: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Products of the rows `a` of whole units with the rows `b` in all orientations: float32 [P, 8]."""
    result = np.empty((len(a), len(KINDS)), np.float32)
    for block in blocks(len(a), 3 * 4 * units.shape[1]):
        first, second = units[a[block]], units[b[block]]
        for column, kind in enumerate(KINDS):
            result[block, column] = np.einsum("ij,ij->i", first, second[:, turned(COARSE, kind)])
    return result


def _keys(a: np.ndarray, b: np.ndarray, count: int) -> np.ndarray:
    """One number for each different pair of rows, whichever comes first: int [P], sorted."""
    return np.unique(np.minimum(a, b) * count + np.maximum(a, b))


def _coarse_units(means: np.ndarray, bring: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
    """Whole units of thumbnails that `bring`, `shrunk` or `framed`, makes coarse: float32 [N, 256]."""
    result = np.empty((len(means), COARSE * COARSE), np.float32)
    for block in blocks(len(means), ALIGNMENT_BYTES):
        result[block] = whole_units(bring(means[block], COARSE))
    return result
