"""Thumbnails of scans, which are block means, and their correlations: the same to the last bit on every machine.

Block means are rounded to 64ths of a grey value. Sums of them and of their products are then exact in float64, in
whatever order a CPU adds them up, and the next steps (a difference, a square root, a quotient) are rounded correctly
everywhere.
"""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trueslice.copies.search import Joined

FINE = 64  # blocks per side
# Parts of a grey value. All sums over 64 x 64 blocks are then whole multiples of 1 / PARTS**2, fewer than 2**53.
PARTS = 64
DECIMALS = 6
# Two vectors of this length have products and partial sums below 2**24, which float32 adds up exactly in any order.
RESOLUTION = 4000
BLOCK_BYTES = 2**26  # size of the largest intermediate array, for any number of scans
# The turn that brings b to the orientation of a.
ORIENTATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "near": lambda square: square,
    "mirrored": np.fliplr,
    "upside_down": np.flipud,
    "half_turn": lambda square: np.rot90(square, 2),
    "transposed": np.transpose,
    "quarter_turn_right": lambda square: np.rot90(square, -1),
    "quarter_turn_left": np.rot90,
    "transversed": lambda square: np.rot90(square, 2).T,
}
KINDS = list(ORIENTATIONS)


def thumbnails(pixels: "np.ndarray | Joined", side: int = FINE) -> np.ndarray:
    """Compute block means of uint8 [N, S, S] or [N, S, S, 3], rounded to 1 / 64: float32 [N, side, side]."""
    size = pixels.shape[1]
    parts = math.gcd(size, side)  # of a row or column, each of which holds whole pixels and whole blocks
    overlaps = _overlaps(size // parts, side // parts)
    weight = int(overlaps[:, 0].sum()) ** 2 * (1 if pixels.ndim == 3 else pixels.shape[3])
    # Both hold whole numbers exactly, float32 up to 2**24; its products are twice as fast.
    dtype = np.dtype(np.float32 if 255 * weight < 2**24 else np.float64)
    overlaps = overlaps.astype(dtype)
    means = np.empty((len(pixels), side, side), np.float32)
    for block in blocks(len(pixels), math.prod(pixels.shape[1:]) * dtype.itemsize, share=32):  # fits the cache of a CPU
        scans = pixels[block].astype(dtype)
        grey = scans if scans.ndim == 3 else scans.sum(axis=-1)
        across = grey.reshape(-1, len(overlaps)) @ overlaps
        sums = overlaps.T @ across.reshape(len(scans), parts, -1, side)
        means[block] = np.rint(sums.reshape(-1, side, side).astype(np.float64) * PARTS / weight) / PARTS
    return means


def _overlaps(size: int, count: int) -> np.ndarray:
    """Compute the overlap of `size` pixels, each `count` long, with `count` blocks, each `size` long."""
    ends = np.minimum.outer(np.arange(1, size + 1) * count, np.arange(1, count + 1) * size)
    starts = np.maximum.outer(np.arange(size) * count, np.arange(count) * size)
    return np.clip(ends - starts, 0, None)


def shrunk(means: np.ndarray, side: int) -> np.ndarray:
    """Shrink pictures [N, S, S], whose side is a multiple of `side`, to block means: float64 [N, side, side]."""
    step = means.shape[1] // side
    return means.reshape(len(means), side, step, side, step).mean(axis=(2, 4), dtype=np.float64)


def turned(side: int, kind: str) -> np.ndarray:
    """Return the old place of each pixel of a flattened square after a turn by `kind`: int [side * side]."""
    return ORIENTATIONS[kind](np.arange(side * side).reshape(side, side)).ravel()


def linear(kind: str) -> np.ndarray:
    """Return the linear map from a place in a turned square, relative to its centre, to that before: float64 [2, 2]."""
    places = np.stack([[-0.5, 0.5, -0.5, 0.5], [-0.5, -0.5, 0.5, 0.5]])  # the centres of four pixels
    return places[:, turned(2, kind)] @ places.T


class Pictures:
    """N thumbnails to correlate: float64, rounded to six decimals; correlations of an even picture are 0."""

    def __init__(self, means: np.ndarray):
        self.flat = means.reshape(len(means), -1)  # float32 [N, side * side]
        self.side = means.shape[1]
        self._sums = self.flat.sum(axis=1, dtype=np.float64)
        squares = np.empty(len(means))
        for block in blocks(len(means), 8 * self.flat.shape[1], share=32):  # fits the cache of a CPU
            some = self.flat[block].astype(np.float64)
            squares[block] = np.einsum("ij,ij->i", some, some)
        self._norms = np.sqrt(self.side**2 * squares - self._sums**2)

    def correlate_pairs(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Correlate the rows `a` with the rows `b` in all orientations: [P, 8], in the order of KINDS."""
        products = products_by_kind(self.flat, a, b, np.float64)
        sums, norms = self._sums[a] * self._sums[b], self._norms[a] * self._norms[b]
        return self._correlations(products, sums[:, None], norms[:, None])

    def correlate_all(self, others: "Pictures", kind: str) -> np.ndarray:
        """Correlate every picture with all M `others` as these are turned by `kind`: [N, M]."""
        turned_others = others.flat[:, turned(self.side, kind)].astype(np.float64)
        products = self.flat.astype(np.float64) @ turned_others.T
        sums = np.multiply.outer(self._sums, others._sums)
        return self._correlations(products, sums, np.multiply.outer(self._norms, others._norms))

    def _correlations(self, products: np.ndarray, sums: np.ndarray, norms: np.ndarray) -> np.ndarray:
        covariances = self.side**2 * products - sums
        return np.divide(covariances, norms, out=np.zeros_like(covariances), where=norms > 0).round(DECIMALS)


def products_by_kind(flat: np.ndarray, a: np.ndarray, b: np.ndarray, dtype: type) -> np.ndarray:
    """Multiply rows `a` of flattened squares [N, S * S] with rows `b` in all orientations: `dtype` [P, 8]."""
    side = math.isqrt(flat.shape[1])
    # Turning a back is as good as turning b.
    back = np.argsort([turned(side, kind) for kind in KINDS], axis=1)
    products: np.ndarray = np.empty((len(a), len(KINDS)), dtype)
    order = np.argsort(a, kind="stable")
    for at in np.split(order, np.flatnonzero(np.diff(a[order])) + 1) if len(a) else []:
        own = flat[a[at[0]]].astype(dtype)[back].T
        for block in blocks(len(at), products.itemsize * flat.shape[1]):
            products[at[block]] = flat[b[at[block]]].astype(dtype, copy=False) @ own
    return products


def whole_units(means: np.ndarray) -> np.ndarray:
    """Flatten, remove the mean, bring to length RESOLUTION, and round to whole numbers: float32 [N, side * side].

    A product of two rows is their correlation times RESOLUTION squared, to some 1e-4; an even picture becomes zero.
    """
    flat = means.reshape(len(means), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    norm = np.sqrt(np.einsum("ij,ij->i", flat, flat))[:, None]
    flat[norm[:, 0] <= 1e-3] = 0
    return np.rint(flat * (RESOLUTION / np.maximum(norm, 1e-3))).astype(np.float32)


def blocks(count: int, bytes_each: int, share: int = 1) -> Iterator[slice]:
    """Yield slices of `count` rows that take no more than BLOCK_BYTES / `share` each."""
    step = max(1, BLOCK_BYTES // share // bytes_each)
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
