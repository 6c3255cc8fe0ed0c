"""Which scans show the same picture, with other contrast, sharpness, size or JPEG quality, mirrored or turned.

Two scans are compared by the normalised correlation of their thumbnails, 64 x 64 block means with the mean removed and
unit norm, in all eight ways in which a square can lie. A smaller thumbnail, 16 x 16, finds the candidates, so that
the cost grows with the square of the number of scans but the memory only with the number itself.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tumorclip.scans.audit import Pair, exact_copies

FINE, COARSE = 64, 16  # blocks per side
# How b is turned to lie like a: swap rows and columns, then reverse rows, then columns.
ORIENTATIONS = {
    "near": (False, False, False),
    "mirrored": (False, False, True),
    "upside_down": (False, True, False),
    "half_turn": (False, True, True),
    "transposed": (True, False, False),
    "quarter_turn_right": (True, False, True),
    "quarter_turn_left": (True, True, False),
    "transversed": (True, True, True),
}
KINDS = list(ORIENTATIONS)
# Coarse correlation is nearly always above the fine one, as averages hide what differs: among the 15,000 pairs of the
# Kaggle brain tumour data with a fine correlation of 0.98 or more the lowest coarse one is below it by 0.004.
COARSE_MARGIN = 0.02
NEIGHBOURS = 8  # candidates that every scan has at least
# Coarsely, a symmetric head is nearly its own mirror image: only the fine thumbnail tells.
ORIENTATION_MARGIN = 0.1
BLOCK_BYTES = 2**26  # size of the largest intermediate array, whatever the number of scans


class Candidates(NamedTuple):
    """Pairs of scans that may be copies, each in one orientation; arrays [P].

    `a` < `b` are row numbers, `kind` is the position in KINDS, `correlation` that of the fine thumbnails.
    """

    a: np.ndarray
    b: np.ndarray
    kind: np.ndarray
    correlation: np.ndarray


def find(pixels: np.ndarray, pixel_hashes: Sequence[str], threshold: float) -> list[Pair]:
    """Pair all scans that are copies of each other, sorted by rows.

    An exact copy is paired with the first scan of the same pixels, and only that one is compared with the others.

    Args:
        pixels: uint8 [N, S, S] or [N, S, S, 3]; may be memory-mapped.
        pixel_hashes: of every scan.
        threshold: correlation of copies or more, in (0, 1].
    """
    exact = exact_copies(pixel_hashes)
    distinct = np.setdiff1d(np.arange(len(pixel_hashes)), [pair.b for pair in exact])
    near = near_copies(candidates(thumbnails(pixels)[distinct], threshold), threshold)
    return sorted(exact + [pair._replace(a=int(distinct[pair.a]), b=int(distinct[pair.b])) for pair in near])


def thumbnails(pixels: np.ndarray) -> np.ndarray:
    """Block means of uint8 [N, S, S] or [N, S, S, 3]: float32 [N, 64, 64]; blocks may begin and end inside a pixel."""
    size = pixels.shape[1]
    average = _block_average(size, FINE).T
    means = np.empty((len(pixels), FINE, FINE), np.float32)
    for block in _blocks(len(pixels), pixels[0].size * 4):
        scans = pixels[block].astype(np.float32)
        grey = scans if scans.ndim == 3 else scans.mean(axis=-1)
        # One large matrix product is many times faster than one per scan.
        across = (grey.reshape(-1, size) @ average).reshape(-1, size, FINE).swapaxes(1, 2)
        means[block] = (across.reshape(-1, size) @ average).reshape(-1, FINE, FINE).swapaxes(1, 2)
    return means


def candidates(means: np.ndarray, threshold: float) -> Candidates:
    """Find every pair that may correlate at `threshold` or more, and the nearest neighbours of every scan.

    Args:
        means: float32 [N, 64, 64].
        threshold: in (0, 1].
    """
    coarse = _unit(_shrunk(means, COARSE))
    fine = _unit(means)
    a, b = _coarse_pairs(coarse, threshold - COARSE_MARGIN)
    by_kind = np.stack([_correlations(coarse, a, b, kind) for kind in range(len(KINDS))], axis=1)
    pair, kind = np.nonzero(by_kind >= by_kind.max(axis=1, keepdims=True) - ORIENTATION_MARGIN)
    a, b = a[pair], b[pair]
    correlation = np.empty(len(pair), np.float32)
    for number in range(len(KINDS)):
        own = kind == number
        correlation[own] = _correlations(fine, a[own], b[own], number)
    return Candidates(a, b, kind, correlation)


def near_copies(found: Candidates, threshold: float) -> list[Pair]:
    """Pair the scans that correlate at `threshold` or more, each pair once, in its best orientation."""
    order = np.lexsort((found.kind, -found.correlation, found.b, found.a))
    order = order[found.correlation[order] >= threshold]
    pairs = []
    for at in order.tolist():
        a, b = int(found.a[at]), int(found.b[at])
        if not pairs or (pairs[-1].a, pairs[-1].b) != (a, b):
            pairs.append(Pair(a, b, KINDS[found.kind[at]], min(1.0, float(found.correlation[at]))))
    return pairs


def _coarse_pairs(coarse: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows a < b of all pairs that correlate at `floor` or more in some orientation, and of every row's neighbours."""
    count, neighbours = len(coarse), min(NEIGHBOURS, len(coarse) - 1)
    orders = [_order(COARSE, kind) for kind in range(len(KINDS))]
    keys = [np.empty(0, np.int64)]
    for block in _blocks(count, 2 * 4 * count):
        rows = np.arange(block.start, block.stop)
        best = np.full((len(rows), count), -1, np.float32)
        for order in orders:
            np.maximum(best, coarse[block] @ coarse[:, order].T, out=best)
        best[np.arange(len(rows)), rows] = -2
        a, b = np.nonzero(best >= floor)
        nearest = np.argpartition(best, count - neighbours, axis=1)[:, count - neighbours :] if neighbours else rows[:0]
        a = np.concatenate([rows[a], np.repeat(rows, neighbours)])
        b = np.concatenate([b, nearest.ravel()])
        keys.append(np.unique(np.minimum(a, b) * count + np.maximum(a, b)))
    return np.divmod(np.unique(np.concatenate(keys)), count)


def _correlations(unit: np.ndarray, a: np.ndarray, b: np.ndarray, kind: int) -> np.ndarray:
    """Correlation of the rows `a` of `unit` (float32 [N, side * side]) with the rows `b` turned by `kind`."""
    order = _order(round(unit.shape[1] ** 0.5), kind)
    result = np.empty(len(a), np.float32)
    for block in _blocks(len(a), 3 * 4 * unit.shape[1]):
        result[block] = np.einsum("ij,ij->i", unit[a[block]], unit[b[block]][:, order])
    return result


def _order(side: int, kind: int) -> np.ndarray:
    """Where each pixel of a flattened square comes from when the square is turned by `kind`: int [side * side]."""
    swap, rows, columns = ORIENTATIONS[KINDS[kind]]
    square = np.arange(side * side).reshape(side, side)
    square = square.T if swap else square
    square = square[::-1] if rows else square
    return (square[:, ::-1] if columns else square).ravel()


def _unit(means: np.ndarray) -> np.ndarray:
    """Flatten, remove the mean, scale to unit norm; an even picture becomes zero and correlates with nothing."""
    flat = means.reshape(len(means), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.where(norm > 1e-3, flat / np.maximum(norm, 1e-3), np.float32(0))


def _shrunk(means: np.ndarray, side: int) -> np.ndarray:
    """Block means of thumbnails whose side is a multiple of `side`: float32 [N, side, side]."""
    step = means.shape[1] // side
    return means.reshape(len(means), side, step, side, step).mean(axis=(2, 4))


def _block_average(size: int, blocks: int) -> np.ndarray:
    """The matrix that averages `size` pixels in `blocks` equal stretches: float32 [blocks, size], rows sum to one."""
    edges = np.arange(blocks + 1) * size / blocks
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.clip(overlap, 0, None) * blocks / size).astype(np.float32)


def _blocks(count: int, bytes_each: int) -> Iterator[slice]:
    step = max(1, BLOCK_BYTES // bytes_each)
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
