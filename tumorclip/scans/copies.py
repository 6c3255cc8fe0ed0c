"""Which scans show the same picture, with other contrast, sharpness, size or JPEG quality, mirrored or turned.

Two scans are compared by the normalised correlation of their thumbnails, 64 x 64 block means with the mean removed and
unit norm, in all eight ways in which a square can lie. A smaller thumbnail, 16 x 16, finds the candidates, so that
the cost grows with the square of the number of scans but the memory only with the number itself. Candidates that
correlate less than copies do are then aligned (alignment.py) and compared again.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tumorclip.scans.alignment import align, compare, framed
from tumorclip.scans.audit import Pair, exact_copies, group

FINEST, FINE, COARSE = 128, 64, 16  # blocks per side
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
NEIGHBOURS = 4  # candidates for alignment that every scan has at least
# Coarsely, a symmetric head is nearly its own mirror image: only the fine thumbnail tells.
ORIENTATION_MARGIN = 0.1
BLOCK_BYTES = 2**26  # size of the largest intermediate array, whatever the number of scans
ALIGNMENT_BYTES = 2**18  # of working memory for each pair that is aligned, more or less


def find(
    pixels: np.ndarray, pixel_hashes: Sequence[str], threshold: float, local_threshold: float, min_overlap: float
) -> list[Pair]:
    """Pair all scans that are copies of each other, sorted by rows.

    An exact copy is paired with the first scan of the same pixels, and only that one is compared with the others.

    Args:
        pixels: uint8 [N, S, S] or [N, S, S, 3]; may be memory-mapped.
        pixel_hashes: of every scan.
        threshold: correlation of copies or more, in (0, 1].
        local_threshold: mean correlation within small windows, or more, of copies that had to be aligned; in (0, 1].
        min_overlap: share of either scan, or more, that such copies have in common; in (0, 1].
    """
    exact = exact_copies(pixel_hashes)
    distinct = np.setdiff1d(np.arange(len(pixel_hashes)), [pair.b for pair in exact])
    means = thumbnails(pixels)[distinct]
    alike, a, b = candidates(means, threshold - COARSE_MARGIN)
    near = near_copies(means, a[alike], b[alike], threshold)
    near += aligned_copies(
        means, a, b, lambda rows: pixels[distinct[rows]], near, threshold, local_threshold, min_overlap
    )
    return sorted(exact + [pair._replace(a=int(distinct[pair.a]), b=int(distinct[pair.b])) for pair in near])


def thumbnails(pixels: np.ndarray, side: int = FINE) -> np.ndarray:
    """Block means of uint8 [N, S, S] or [N, S, S, 3]: float32 [N, side, side]; blocks may end inside a pixel."""
    size = pixels.shape[1]
    average = _block_average(size, side).T
    means = np.empty((len(pixels), side, side), np.float32)
    for block in _blocks(len(pixels), pixels[0].size * 4):
        scans = pixels[block].astype(np.float32)
        grey = scans if scans.ndim == 3 else scans.mean(axis=-1)
        # One large matrix product is many times faster than one per scan.
        across = (grey.reshape(-1, size) @ average).reshape(-1, size, side).swapaxes(1, 2)
        means[block] = (across.reshape(-1, size) @ average).reshape(-1, side, side).swapaxes(1, 2)
    return means


def nearest_training(test_means: np.ndarray, train_means: np.ndarray) -> np.ndarray:
    """How much each test scan correlates with the training scan most like it, in its best orientation: float32 [T].

    Args:
        test_means: thumbnails, float32 [T, 64, 64].
        train_means: thumbnails of the scans that train, float32 [N, 64, 64], at least one.
    """
    nearest = np.full(len(test_means), -1, np.float32)
    orders = [_order(FINE, kind) for kind in range(len(KINDS))]
    for columns in _blocks(len(train_means), 3 * 4 * FINE * FINE):
        train = _unit(train_means[columns])
        for rows in _blocks(len(test_means), 3 * 4 * FINE * FINE):
            test = _unit(test_means[rows])
            for order in orders:
                nearest[rows] = np.maximum(nearest[rows], (test[:, order] @ train.T).max(axis=1))
    return np.minimum(nearest, 1)


def candidates(means: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find every pair that correlates coarsely at `floor` or more in some orientation, and neighbours of every scan.

    Neighbours are the scans most alike once both are framed, which undoes most of a shift, a stretch or a crop.

    Args:
        means: float32 [N, 64, 64].

    Returns:
        Whether a pair reaches `floor`, bool [P], and its rows a < b, int [P].
    """
    count, neighbours = len(means), min(NEIGHBOURS, len(means) - 1)
    plain, moved = _unit(_shrunk(means, COARSE)), _unit(_framed(means))
    alike, others = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for block in _blocks(count, 3 * 4 * count):
        rows = np.arange(block.start, block.stop)
        best = _best_correlations(plain, block)
        a, b = np.nonzero(best >= floor)
        alike.append(_keys(rows[a], b, count))
        best = _best_correlations(moved, block)
        best[a, b] = -1  # so that many copies of a scan leave room for others
        best[np.arange(len(rows)), rows] = -2  # below all, so that no scan is its own neighbour
        if neighbours:
            nearest = np.argpartition(best, count - neighbours, axis=1)[:, count - neighbours :]
            others.append(_keys(np.repeat(rows, neighbours), nearest.ravel(), count))
    keys = np.unique(np.concatenate(alike))
    every = np.union1d(keys, np.concatenate(others))
    return np.isin(every, keys), *np.divmod(every, count)


def near_copies(means: np.ndarray, a: np.ndarray, b: np.ndarray, threshold: float) -> list[Pair]:
    """Pair the candidates, rows `a` < `b`, that correlate at `threshold` or more in their best orientation."""
    fine = _unit(means)
    by_kind = np.stack([_correlations(fine, a, b, kind) for kind in range(len(KINDS))], axis=1)
    kind, correlation = by_kind.argmax(axis=1), np.minimum(by_kind.max(axis=1), 1)
    rows = zip(a.tolist(), b.tolist(), kind.tolist(), correlation.tolist(), strict=True)
    return [Pair(a, b, KINDS[kind], correlation) for a, b, kind, correlation in rows if correlation >= threshold]


def aligned_copies(
    means: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    pixels_of: Callable[[np.ndarray], np.ndarray],
    near: list[Pair],
    threshold: float,
    local_threshold: float,
    min_overlap: float,
) -> list[Pair]:
    """Pair the candidates that become copies once aligned, except those that `near` already puts in one group.

    `pixels_of` gives the pixels of scans at full size, by row numbers; other arguments as for `find`.
    """
    groups = group(len(means), near)
    open_ = groups[a] != groups[b]
    pairs = np.stack([a[open_], b[open_]], axis=1)
    moved = _unit(_framed(means))
    by_kind = np.stack([_correlations(moved, *pairs.T, kind) for kind in range(len(KINDS))], axis=1)
    nearest = _among_nearest(pairs, by_kind.max(axis=1, initial=-1))
    pairs, by_kind = pairs[nearest], by_kind[nearest]
    possible = by_kind >= by_kind.max(axis=1, keepdims=True, initial=-1) - ORIENTATION_MARGIN
    best = {}
    for kind in range(len(KINDS)):
        order, finest = _order(FINE, kind), _order(FINEST, kind)
        own = pairs[possible[:, kind]]
        for block in _blocks(len(own), ALIGNMENT_BYTES):
            a, b = own[block].T
            second = means[b].reshape(len(b), -1)[:, order].reshape(-1, FINE, FINE)
            maps, promising = align(means[a], second, threshold, min_overlap)
            a, b, maps = a[promising], b[promising], maps[promising]
            if not len(a):
                continue
            first = thumbnails(pixels_of(a), FINEST)
            second = thumbnails(pixels_of(b), FINEST).reshape(len(b), -1)[:, finest].reshape(first.shape)
            fit = compare(first, second, maps)
            good = (fit.correlation >= threshold) & (fit.local >= local_threshold) & (fit.overlap >= min_overlap)
            edges = zip(a[good].tolist(), b[good].tolist(), fit.correlation[good].tolist(), strict=True)
            for *edge, correlation in edges:
                best[tuple(edge)] = max(min(1.0, correlation), best.get(tuple(edge), 0))
    return [Pair(*edge, "aligned", correlation) for edge, correlation in best.items()]


def _among_nearest(pairs: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """Which pairs, int [P, 2], are among the NEIGHBOURS nearest ones of either scan: bool [P]."""
    nearest = np.zeros(len(pairs), bool)
    for rows in pairs.T:
        order = np.lexsort((-correlation, rows))
        ordered = rows[order]
        place = np.arange(len(rows)) - np.searchsorted(ordered, ordered)
        nearest[order[place < NEIGHBOURS]] = True
    return nearest


def _best_correlations(unit: np.ndarray, block: slice) -> np.ndarray:
    """Correlation of the rows in `block` with all rows in their best orientations: float32 [rows, N]."""
    best = unit[block] @ unit.T
    for kind in range(1, len(KINDS)):
        np.maximum(best, unit[block] @ unit[:, _order(COARSE, kind)].T, out=best)
    best[np.arange(block.stop - block.start), np.arange(block.start, block.stop)] = -1
    return best


def _keys(a: np.ndarray, b: np.ndarray, count: int) -> np.ndarray:
    """One number for each different pair of rows, whichever comes first: int [P], sorted."""
    return np.unique(np.minimum(a, b) * count + np.maximum(a, b))


def _framed(means: np.ndarray) -> np.ndarray:
    result = np.empty((len(means), COARSE, COARSE), np.float32)
    for block in _blocks(len(means), ALIGNMENT_BYTES):
        result[block] = framed(means[block], COARSE)
    return result


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
