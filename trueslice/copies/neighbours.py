"""Which of very many scans are most alike: all pairs from a threshold on, and the nearest neighbours of every scan.

Every scan is compared with every other one, but by few numbers: the principal components that hold nearly all of the
pictures. The inequality of Cauchy and Schwarz says how much the rest can add at most. Only pairs that may still count
are multiplied in whole numbers. So the result is exact, and the same on every machine.

Of the eight orientations of a square, a half turn costs nothing: it changes the sign of the odd part of a picture, and
leaves the even part as it is. Every pair is met once, as the lower triangle of a matrix, in tiles.
"""

from collections.abc import Iterator
from math import isqrt
from threading import Lock
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trueslice.copies import thumbnails
from trueslice.copies.alignment import side_by_side
from trueslice.copies.thumbnails import KINDS, RESOLUTION, blocks, products_by_kind, turned

HALF_OF_KINDS = ("near", "mirrored", "transposed", "quarter_turn_right")  # a half turn more makes the others
LEFT_OUT = 0.025  # of the squares of all pictures, what the principal components may leave out
# Of a product of whole units. What float32 rounds in the sum of 256 terms is a third of this at most.
ROUNDING = 5e-5 * RESOLUTION**2
TILE = (512, 2048)  # rows and columns; more does not fit the cache of a CPU

PAIR_BYTES = 256  # of working memory for each pair that is compared in whole numbers, more or less


class Alike(NamedTuple):
    """Pairs of rows, each once, sorted, and their products as they lie best."""

    a: np.ndarray  # int [P]
    b: np.ndarray  # int [P], more than a
    products: np.ndarray  # float32 [P], whole numbers


def most_alike(
    units: np.ndarray,
    floor: float,
    neighbours: int,
    device: str = "cpu",
    known: int = 0,
    apart: tuple[np.ndarray, np.ndarray] = (np.empty(0, int), np.empty(0, int)),
) -> Alike:
    """Find every pair with a product of `floor` or more in some orientation, and the nearest neighbours of every row.

    Of neighbours that are equally near the first count.

    Args:
        units: square pictures as `whole_units` gives them, float32 [N, S * S].
        floor: more than 0, in whole units squared.
        neighbours: how many neighbours every row has, fewer than N.
        device: where most pairs are excluded, as PyTorch writes it; the CPU decides about the others.
        known: how many rows, the first ones, are not compared with each other, nor given neighbours.
        apart: rows a < b of pairs, int [P], that are passed over.
    """
    bounds, found = _Bounds(units, device), _Found(units, floor, neighbours, known)
    smaller, larger = (rows[np.argsort(apart[1], kind="stable")] for rows in apart)

    def search(start: int) -> None:
        rows = slice(start, min(start + TILE[0], len(units)))
        passed = slice(*np.searchsorted(larger, [rows.start, rows.stop]))
        own = bounds.own(rows)
        waiting = []
        for columns in _columns(rows):
            upper = bounds.tile(own, rows, columns)
            bounds.pass_over(upper, larger[passed] - rows.start, smaller[passed] - columns.start)
            if columns.stop == rows.stop:
                found.expect(rows, bounds.nearest(upper, own, columns, neighbours))
            i, j = bounds.at_least(upper, own, found.needed[rows], found.needed[columns])
            waiting.append((rows.start + i, columns.start + j))
            if sum(len(a) for a, _ in waiting) > thumbnails.BLOCK_BYTES // PAIR_BYTES:
                found.compare(waiting)
                waiting = []
        found.compare(waiting)

    side_by_side(search, range(known, len(units), TILE[0]))
    return found.pairs()


def _columns(rows: slice) -> Iterator[slice]:
    """Columns up to the last of the rows, the nearest first: in most folders neighbours are alike."""
    for stop in range(rows.stop, 0, -TILE[1]):
        yield slice(max(0, stop - TILE[1]), stop)


class _Own(NamedTuple):
    """What the tiles of some rows share."""

    coordinates: list[tuple[Tensor, Tensor]]  # even and odd ones, in four orientations
    best: Tensor  # float32 [rows, columns of a tile], working memory
    product: Tensor  # likewise


class _Bounds:
    """What the products of rows are at most, as they lie best, from a few numbers of each."""

    def __init__(self, units: np.ndarray, device: str):
        self._units, self._device = units, device
        torch.set_float32_matmul_precision("highest")  # TF32, which some installations turn on, rounds by more
        self._bases = _principal_components(units)
        self._even, self._odd = self._coordinates(slice(0, len(units)), "near")

    def own(self, rows: slice) -> "_Own":
        """What the tiles of some rows share."""
        buffers = [self._even.new_empty((rows.stop - rows.start, TILE[1])) for _ in range(2)]
        return _Own([self._coordinates(rows, kind) for kind in HALF_OF_KINDS], *buffers)

    def tile(self, own: "_Own", rows: slice, columns: slice) -> Tensor:
        """The bounds of rows beside columns, minus infinity where a column is not before the row.

        The tensor is overwritten by the next call.
        """
        best, product = (buffer[:, : columns.stop - columns.start] for buffer in (own.best, own.product))
        best.fill_(-torch.inf)
        for even, odd in own.coordinates:
            torch.mm(odd, self._odd[columns].T, out=product).abs_()
            torch.maximum(best, product.addmm_(even, self._even[columns].T), out=best)
        if columns.stop > rows.start:
            best.masked_fill_(torch.ones_like(best, dtype=torch.bool).triu(rows.start - columns.start), -torch.inf)
        return best

    def pass_over(self, upper: Tensor, i: np.ndarray, j: np.ndarray) -> None:
        """Take out what lies in a tile."""
        inside = (j >= 0) & (j < upper.shape[1])
        upper[i[inside], j[inside]] = -np.inf

    def nearest(self, upper: Tensor, own: "_Own", columns: slice, neighbours: int) -> np.ndarray:
        """What each row has in a tile at least, as the product with the last of its neighbours: float32 [rows]."""
        if upper.shape[1] < neighbours:
            return np.full(len(upper), -np.inf, np.float32)
        # Bounds are above and below by as much.
        slack = torch.stack([even[:, -2:] for even, _ in own.coordinates]).amax(0) @ self._even[columns, -2:].T
        return (upper - 2 * slack).topk(neighbours).values[:, -1].cpu().numpy()

    def at_least(
        self, upper: Tensor, own: "_Own", rows: np.ndarray, columns: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where bounds reach what either the row or the column needs, float32 [rows] and [columns]: two int [P]."""
        rows, columns = (torch.from_numpy(needed).to(self._device) for needed in (rows, columns))
        needed = own.product[:, : upper.shape[1]]
        torch.minimum(rows[:, None], columns, out=needed)
        # NumPy finds a few among many several times faster than PyTorch.
        return np.divmod(np.flatnonzero((upper >= needed).cpu().numpy()), upper.shape[1])

    def _coordinates(self, rows: slice, kind: str) -> tuple[Tensor, Tensor]:
        """Even and odd coordinates of turned rows.

        The last two of the even ones are there so that products of them add the rest of both pictures and the rounding.
        """
        count, side = rows.stop - rows.start, isqrt(self._units.shape[1])
        widths = [basis.shape[1] for basis in self._bases]
        even, odd = np.empty((count, widths[0] + 2), np.float32), np.empty((count, widths[1]), np.float32)
        even[:, -1] = ROUNDING**0.5
        for block in blocks(count, 3 * 8 * side * side):
            vectors = self._units[rows][block][:, turned(side, kind)].astype(np.float64)
            inside = [vectors @ basis for basis in self._bases]
            squares = [np.einsum("ij,ij->i", each, each) for each in (vectors, *inside)]
            even[block, :-2], odd[block] = inside
            even[block, -2] = np.sqrt(np.maximum(squares[0] - squares[1] - squares[2], 0))
        return torch.from_numpy(even).to(self._device), torch.from_numpy(odd).to(self._device)


def _principal_components(units: np.ndarray) -> list[np.ndarray]:
    """Even and odd components of pictures in all orientations, that leave out LEFT_OUT: float64 [S * S, K] each."""
    half, side = units.shape[1] // 2, isqrt(units.shape[1])
    moments = (units.T @ units).astype(np.float64)
    moments = sum(moments[np.ix_(order, order)] for order in (turned(side, kind) for kind in KINDS))
    values, bases = [], []
    for sign in (1, -1):
        # Flattened, a picture is reversed by a half turn, so its first half tells all of its even or odd part.
        value, vectors = np.linalg.eigh(moments[:half, :half] + sign * moments[:half, ::-1][:, :half])
        values.append(value)
        bases.append(np.concatenate([vectors, sign * vectors[::-1]]) / 2**0.5)
    smallest_first = np.sort(np.concatenate(values))
    left_out = np.searchsorted(np.cumsum(smallest_first), LEFT_OUT * smallest_first.sum())
    return [basis[:, value >= smallest_first[left_out]] for value, basis in zip(values, bases, strict=True)]


class _Found:
    """Pairs that were compared in whole numbers, and what a pair needs to be compared."""

    def __init__(self, units: np.ndarray, floor: float, neighbours: int, known: int):
        self._units, self._floor, self._known = units, floor, known
        self._nearest = np.full((len(units), neighbours), len(units))  # the neighbours of every row, the best first
        self._products = np.full((len(units), neighbours), -np.inf, np.float32)
        # What the last neighbour has at least: more than the minus infinity of what is passed over.
        self._last = np.full(len(units), -2 * RESOLUTION**2, np.float32)
        # An even picture is as near to one as to any other: its neighbours are known from the start.
        even = np.flatnonzero(~units.any(axis=1))
        self._last[even] = self._last[:known] = np.inf
        even, first = np.repeat(even[even >= known], neighbours), np.arange(neighbours)
        first = np.resize(first, len(even))
        self._pairs = [(even, first + (first >= even), np.zeros(len(even), np.float32))]
        self._lock = Lock()
        self.needed = np.minimum(self._last, np.float32(floor))

    def expect(self, rows: slice, last: np.ndarray) -> None:
        """Take note of what the last neighbours of rows have at least, float32 [rows]."""
        with self._lock:
            self._last[rows] = np.maximum(self._last[rows], last)
            self.needed[rows] = np.minimum(self._last[rows], self._floor)

    def compare(self, waiting: list[tuple[np.ndarray, np.ndarray]]) -> None:
        """Compare pairs of rows, int [P] each, and raise what others need."""
        a, b = (np.concatenate(rows) for rows in zip(*waiting, strict=True)) if waiting else np.empty((2, 0), int)
        for block in blocks(len(a), PAIR_BYTES):
            products = products_by_kind(self._units, a[block], b[block], np.float32).max(axis=1)
            alike = products >= self._floor
            ends = a[block], b[block]
            with self._lock:
                self._pairs.append((*(rows[alike] for rows in ends), products[alike]))
                self._improve(np.concatenate(ends), np.concatenate(ends[::-1]), np.tile(products, 2))

    def pairs(self) -> Alike:
        """All that were found."""
        rows, places = np.nonzero(self._nearest < len(self._units))
        nearest = rows, self._nearest[rows, places], self._products[rows, places]
        a, b, products = (np.concatenate(parts) for parts in zip(*self._pairs, nearest, strict=True))
        keys, at = np.unique(np.minimum(a, b) * len(self._units) + np.maximum(a, b), return_index=True)
        return Alike(*np.divmod(keys, len(self._units)), products[at])

    def _improve(self, rows: np.ndarray, others: np.ndarray, products: np.ndarray) -> None:
        """Give `rows` better neighbours where `others` are."""
        nearer = products >= self._last[rows]
        changed = np.unique(rows[nearer])
        neighbours = self._nearest.shape[1]
        rows = np.concatenate([rows[nearer], np.repeat(changed, neighbours)])
        others = np.concatenate([others[nearer], self._nearest[changed].ravel()])
        products = np.concatenate([products[nearer], self._products[changed].ravel()])
        order = np.lexsort((others, -products, rows))
        ordered = rows[order]
        order = order[np.arange(len(order)) - np.searchsorted(ordered, ordered) < neighbours]
        self._nearest[changed] = others[order].reshape(-1, neighbours)
        self._products[changed] = products[order].reshape(-1, neighbours)
        self._last[changed] = np.maximum(self._last[changed], self._products[changed, -1])
        self.needed[changed] = np.minimum(self._last[changed], self._floor)
