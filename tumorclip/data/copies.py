"""Which scans show the same picture, with other contrast, sharpness, size or JPEG quality, mirrored or turned.

Two scans are compared by the normalised correlation of their thumbnails, 64 x 64 block means with the mean removed and
unit norm, in all eight ways in which a square can lie. A smaller thumbnail, 16 x 16, finds the candidates, so that
the cost grows with the square of the number of scans but the memory only with the number itself. Candidates that
correlate less than copies do are then aligned (alignment.py) and compared again.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from tumorclip.data.alignment import align, compare, framed
from tumorclip.data.groups import Pair, exact_copies, group

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
# In slices of one head, skull and background alone can lift the correlation over a threshold (to 0.9812 in the Kaggle
# data). Below this, windows of the picture must agree too; above, copies may be sharpened too much for that.
SURE = 0.9825
NEIGHBOURS = 4  # candidates for alignment that every scan has at least
# Coarsely, a symmetric head is nearly its own mirror image: only the fine thumbnail tells.
ORIENTATION_MARGIN = 0.1
BLOCK_BYTES = 2**26  # size of the largest intermediate array, whatever the number of scans
ALIGNMENT_BYTES = 2**18  # of working memory for each pair that is aligned, more or less


class Copies(NamedTuple):
    """What is found among N scans.

    pairs: all scans that are copies of each other, sorted by rows.
    best_matches: float32 [N], how much each scan correlates with the one most like it, without alignment; 1 where an
        exact copy exists.
    """

    pairs: list[Pair]
    best_matches: np.ndarray


def find(
    pixels: np.ndarray,
    pixel_hashes: Sequence[str],
    threshold: float,
    local_threshold: float,
    min_overlap: float,
    device: str = "cpu",
    workers: int = 1,
) -> Copies:
    """Pair all scans that are copies of each other.

    An exact copy is paired with the first scan of the same pixels, and only that one is compared with the others.

    Args:
        pixels: uint8 [N, S, S] or [N, S, S, 3]; may be memory-mapped.
        pixel_hashes: of every scan.
        threshold: correlation of copies or more, in (0, 1].
        local_threshold: mean correlation within small windows, or more, of copies that had to be aligned; in (0, 1].
        min_overlap: share of either scan, or more, that such copies have in common; in (0, 1].
        device: where candidates are sought, as `tumorclip.device.pick_device` gives it; what they are is always decided on the CPU.
        workers: threads that align pairs.
    """
    exact = exact_copies(pixel_hashes)
    distinct = np.setdiff1d(np.arange(len(pixel_hashes)), [pair.b for pair in exact])
    means = thumbnails(pixels)[distinct]
    a, b = candidates(means, threshold - COARSE_MARGIN, device)
    kinds, correlations = best_orientations(means, a, b)
    found = [a.tolist(), b.tolist(), kinds.tolist(), correlations.tolist()]
    alike = [pair for pair in map(Pair, *found) if pair.correlation >= threshold]
    groups = group(len(means), [pair for pair in alike if pair.correlation >= SURE])
    near = {(pair.a, pair.b): pair for pair in alike if groups[pair.a] == groups[pair.b]}
    doubtful = {(pair.a, pair.b): pair for pair in alike if groups[pair.a] != groups[pair.b]}
    for pair in aligned_copies(
        means, a, b, lambda rows: pixels[distinct[rows]], groups, threshold, local_threshold, min_overlap, workers
    ):
        near[pair.a, pair.b] = doubtful.get((pair.a, pair.b), pair)
    best = np.full(len(distinct), -1, np.float32)
    for rows in (a, b):
        np.maximum.at(best, rows, correlations)
    best_matches = np.ones(len(pixel_hashes), np.float32)
    best_matches[distinct] = best
    best_matches[[pair.a for pair in exact]] = 1
    pairs = [pair._replace(a=int(distinct[pair.a]), b=int(distinct[pair.b])) for pair in near.values()]
    return Copies(sorted(exact + pairs), best_matches)


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


def weakest_pairs(means: np.ndarray, groups: np.ndarray) -> list[Pair]:
    """Pair the two scans of every group of copies that correlate least, as they best lie and without alignment.

    A chain of copies may join scans that are none of each other; the groups where that happened are the first ones.

    Args:
        means: thumbnails, float32 [N, 64, 64].
        groups: the same number for copies of each other, int [N].

    Returns:
        One pair for every group of more than one scan, the lowest correlation first.
    """
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    a, b = np.array([_least_alike(means, rows) for rows in members if len(rows) > 1], dtype=int).reshape(-1, 2).T
    kinds, correlations = best_orientations(means, a, b)
    found = map(Pair, a.tolist(), b.tolist(), kinds.tolist(), correlations.tolist())
    return sorted(found, key=lambda pair: pair.correlation)


def _least_alike(means: np.ndarray, rows: np.ndarray) -> tuple[int, int]:
    unit, lowest, pair = _unit(means[rows]), np.inf, (0, 0)
    for block in _blocks(len(rows), 4 * (2 * len(rows) + FINE * FINE)):
        best = np.full((block.stop - block.start, len(rows)), -1, np.float32)
        for kind in range(len(KINDS)):
            np.maximum(best, unit[block] @ unit[:, _order(FINE, kind)].T, out=best)
        a, b = np.unravel_index(best.argmin(), best.shape)
        if best[a, b] < lowest:
            lowest, pair = best[a, b], (block.start + a, b)
    return tuple(np.sort(rows[list(pair)]))


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


def candidates(means: np.ndarray, floor: float, device: str = "cpu") -> tuple[np.ndarray, np.ndarray]:
    """Find every pair that correlates coarsely at `floor` or more in some orientation, and neighbours of every scan.

    Neighbours are the scans most alike as they are, and those most alike once both are framed, which undoes most of a
    shift, a stretch or a crop.

    Args:
        means: float32 [N, 64, 64].
        device: as `tumorclip.device.pick_device` gives it.

    Returns:
        Rows a < b of each pair, int [P], sorted.
    """
    count, neighbours = len(means), min(NEIGHBOURS, len(means) - 1)
    plain = _correlate_on(device, _unit(_shrunk(means, COARSE)))
    moved = _correlate_on(device, _unit(_framed(means)))
    found = [np.empty(0, np.int64)]
    for block in _blocks(count, 3 * 4 * count):
        rows = np.arange(block.start, block.stop)
        best = plain(block)
        a, b = np.nonzero(best >= floor)
        found += [_keys(rows[a], b, count), _keys(*_nearest(rows, best, neighbours), count)]
        best = moved(block)
        best[a, b] = -1  # so that many copies of a scan leave room for others
        found.append(_keys(*_nearest(rows, best, neighbours), count))
    return np.divmod(np.unique(np.concatenate(found)), count)


def best_orientations(means: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How the rows `b` lie to correlate most with the rows `a`, and how much: kinds, str [P], and float32 [P]."""
    coarse, fine = _unit(_shrunk(means, COARSE)), _unit(means)
    possible = _possible(_by_kind(coarse, a, b))
    by_kind = np.full(possible.shape, -1, np.float32)
    for kind in range(len(KINDS)):
        at = np.flatnonzero(possible[:, kind])
        by_kind[at, kind] = _correlations(fine, a[at], b[at], kind)
    return np.array(KINDS)[by_kind.argmax(axis=1)], np.minimum(by_kind.max(axis=1), 1)


def aligned_copies(
    means: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    pixels_of: Callable[[np.ndarray], np.ndarray],
    groups: np.ndarray,
    threshold: float,
    local_threshold: float,
    min_overlap: float,
    workers: int,
) -> list[Pair]:
    """Pair the candidates that are copies once aligned, except those that are in one group (int [N]) already.

    `pixels_of` gives the pixels of scans at full size, by row numbers; other arguments as for `find`.
    """
    open_ = groups[a] != groups[b]
    pairs = np.stack([a[open_], b[open_]], axis=1)
    by_kind = _by_kind(_unit(_framed(means)), *pairs.T)
    nearest = _among_nearest(pairs, by_kind.max(axis=1))
    pairs, possible = pairs[nearest], _possible(by_kind[nearest])

    def aligned(kind: int, pairs: np.ndarray) -> list[tuple[int, int, float]]:
        order, finest = _order(FINE, kind), _order(FINEST, kind)
        a, b = pairs.T
        second = means[b].reshape(len(b), -1)[:, order].reshape(-1, FINE, FINE)
        maps, promising = align(means[a], second, threshold, min_overlap)
        a, b, maps = a[promising], b[promising], maps[promising]
        if not len(a):
            return []
        first = thumbnails(pixels_of(a), FINEST)
        second = thumbnails(pixels_of(b), FINEST).reshape(len(b), -1)[:, finest].reshape(first.shape)
        fit = compare(first, second, maps)
        good = (fit.correlation >= threshold) & (fit.local >= local_threshold) & (fit.overlap >= min_overlap)
        return list(zip(a[good].tolist(), b[good].tolist(), fit.correlation[good].tolist(), strict=True))

    tasks = [
        (kind, own[block])
        for kind in range(len(KINDS))
        for own in [pairs[possible[:, kind]]]
        for block in _blocks(len(own), ALIGNMENT_BYTES, share=4)  # several at once share the memory
    ]
    best: dict[tuple[int, int], float] = {}
    with ThreadPoolExecutor(workers) as pool:
        for found in pool.map(aligned, *zip(*tasks, strict=True)) if tasks else []:
            for *edge, correlation in found:
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


def _correlate_on(device: str, unit: np.ndarray) -> Callable[[slice], np.ndarray]:
    """A function that correlates a block of rows of `unit` with all rows, in their best orientations.

    It returns float32 [rows, N], with -1 where a scan meets itself.
    """
    if device == "cpu":
        there, maximum, back = unit, np.maximum, np.asarray
    else:
        import torch

        there, maximum, back = torch.from_numpy(unit).to(device), torch.maximum, lambda numbers: numbers.cpu().numpy()
    orders = [_order(COARSE, kind) for kind in range(len(KINDS))]

    def correlate(block: slice) -> np.ndarray:
        own = there[block]
        best = own @ there.T
        for order in orders[1:]:
            best = maximum(best, own[:, order] @ there.T)
        best = back(best)
        best[np.arange(len(best)), np.arange(block.start, block.stop)] = -1
        return best

    return correlate


def _nearest(rows: np.ndarray, correlations: np.ndarray, neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """Each of `rows` beside each of its `neighbours` nearest ones, by correlations [rows, N], itself left out."""
    correlations[np.arange(len(rows)), rows] = -2  # below all others
    count = correlations.shape[1]
    nearest = np.argpartition(correlations, count - neighbours - 1, axis=1)[:, count - neighbours :]
    return np.repeat(rows, neighbours), nearest.ravel()


def _possible(by_kind: np.ndarray) -> np.ndarray:
    """Orientations that may be the best one by coarse correlations, float32 [P, 8]: bool [P, 8]."""
    return by_kind >= by_kind.max(axis=1, keepdims=True) - ORIENTATION_MARGIN


def _by_kind(unit: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.stack([_correlations(unit, a, b, kind) for kind in range(len(KINDS))], axis=1)


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
    norm = np.sqrt(np.einsum("ij,ij->i", flat, flat))
    flat[norm <= 1e-3] = 0
    flat /= np.maximum(norm, 1e-3)[:, None]
    return flat


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


def _blocks(count: int, bytes_each: int, share: int = 1) -> Iterator[slice]:
    """Slices of `count` rows that take no more than BLOCK_BYTES / `share` each."""
    step = max(1, BLOCK_BYTES // share // bytes_each)
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
