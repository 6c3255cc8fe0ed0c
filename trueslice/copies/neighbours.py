"""Nearest neighbours among very many scans: all pairs from a threshold on, and the most alike ones of every scan.

All scans are multiplied with each other in eight orientations, by few sums for each pair and up to rounding. Pairs that
may count are then multiplied in whole numbers that float32 holds exactly, so the result is the same on every machine.
"""

from math import isqrt
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trueslice.copies.alignment import side_by_side
from trueslice.copies.thumbnails import RESOLUTION, products_by_kind, turned

TILE = (256, 1024)  # rows and columns; more does not fit the cache of a CPU
ROUNDING = 1e-5 * RESOLUTION**2  # of a product; float32 rounds sums of 64 terms by less than half of it
NONE = np.empty(0, int)


class Alike(NamedTuple):
    """Pairs of rows, each once, sorted, and their products in the best orientation."""

    a: np.ndarray  # int [P]
    b: np.ndarray  # int [P], more than a
    products: np.ndarray  # float32 [P], whole numbers


def most_alike(
    units: np.ndarray,
    floor: float,
    neighbours: int,
    device: str = "cpu",
    known: int = 0,
    excluded: tuple[np.ndarray, np.ndarray] = (NONE, NONE),
) -> Alike:
    """Find every pair with a product of `floor` or more in some orientation, and the nearest neighbours of every row.

    Of neighbours that are equally near the first count.

    Args:
        units: square pictures as `whole_units` gives them, float32 [N, S * S].
        floor: more than 0, in whole units squared.
        neighbours: how many every row has, fewer than N.
        known: how many rows, the first ones, are not compared with each other, nor given neighbours.
        excluded: rows a < b of pairs, int [P], that are skipped.
    """
    torch.set_float32_matmul_precision("highest")  # TF32, which some installations turn on, rounds
    transposed = np.ascontiguousarray(units[:, turned(isqrt(units.shape[1]), "transposed")])
    parts, transposed_parts = (_parts(torch.from_numpy(each).to(device)) for each in (units, transposed))
    smaller, larger = (rows[np.argsort(excluded[1], kind="stable")] for rows in excluded)
    last, found = _flat(units, neighbours, known)

    def search(start: int) -> None:
        rows = slice(start, min(start + TILE[0], len(units)))
        skipped = slice(*np.searchsorted(larger, [rows.start, rows.stop]))
        for stop in range(rows.stop, 0, -TILE[1]):  # the nearest columns first: in most folders neighbours are alike
            columns = slice(max(0, stop - TILE[1]), stop)
            i, j = larger[skipped] - rows.start, smaller[skipped] - columns.start
            inside = (j >= 0) & (j < columns.stop - columns.start)
            best = torch.maximum(*(_products(each[:, rows], parts[:, columns]) for each in (parts, transposed_parts)))
            if stop > rows.start:  # a row is compared with those before it
                best.masked_fill_(torch.ones_like(best, dtype=torch.bool).triu(rows.start - columns.start), -torch.inf)
            best[i[inside], j[inside]] = -torch.inf
            more = _reached(best, last[rows]).sum(axis=1) >= neighbours
            nearest = best[torch.from_numpy(more).to(device)].topk(min(neighbours, best.shape[1])).values[:, -1]
            last[rows][more] = np.maximum(last[rows][more], nearest.cpu().numpy() - ROUNDING)
            needed = np.minimum(last, np.float32(floor))
            alike = _reached(best, needed[rows]) | _reached(best.T, needed[columns]).T
            i, j = np.divmod(np.flatnonzero(alike), alike.shape[1])
            found.append((columns.start + j, rows.start + i))

    side_by_side(search, range(known, len(units), TILE[0]))
    a, b = (np.concatenate(rows) for rows in zip(*found, strict=True))
    a, b = np.divmod(np.unique(np.minimum(a, b) * len(units) + np.maximum(a, b)), len(units))
    alike = Alike(a, b, products_by_kind(units, a, b, np.float32).max(axis=1))
    kept = (alike.products >= floor) | _among_nearest(alike, neighbours, known)
    return Alike(*(column[kept] for column in alike))


def _flat(units: np.ndarray, neighbours: int, known: int) -> tuple[np.ndarray, list[tuple]]:
    """Return lower bounds of each row's product with its last neighbour, and the pairs that are known from the start.

    A picture of one grey value is as near to any other.
    """
    # Above the minus infinity of what is skipped.
    last = np.full(len(units), -2 * RESOLUTION**2, np.float32)
    flat = np.flatnonzero(~units.any(axis=1))
    last[flat] = last[:known] = np.inf
    flat = np.repeat(flat[flat >= known], neighbours)
    first = np.resize(np.arange(neighbours), len(flat))
    return last, [(first + (first >= flat), flat)]


def _parts(units: Tensor) -> Tensor:
    """Divide squares [N, S * S] into what is even and odd down and across: [4, N, S * S / 4], by a quarter of each.

    The sum of the products of the parts of two pictures is their product; a flip changes the sign of some.
    """
    side = isqrt(units.shape[1])
    parts = [units.view(-1, side, side)]
    for dim in (1, 2):
        halves = [(first, last.flip(dim)) for first, last in (part.chunk(2, dim) for part in parts)]
        parts = [combined for first, last in halves for combined in (first + last, first - last)]
    return torch.stack(parts).flatten(2) / 2


def _products(parts: Tensor, others: Tensor) -> Tensor:
    """Multiply rows in all orientations but transposed ones, and keep the best: float32 [rows, others]."""
    even, across, down, odd = parts @ others.mT  # of those two that are odd in one direction
    both, either = even + odd, (across + down).abs_()
    flipped, other = even.sub_(odd), across.sub_(down).abs_()
    return torch.maximum(both.add_(either), flipped.add_(other))


def _reached(products: Tensor, needed: np.ndarray) -> np.ndarray:
    """Tell which products may be as large as their row needs: bool, of the same shape."""
    needed = needed - np.float32(ROUNDING)
    return (products >= torch.from_numpy(needed).to(products.device)[:, None]).cpu().numpy()


def _among_nearest(pairs: Alike, neighbours: int, known: int) -> np.ndarray:
    """Tell which pairs are among the nearest of either row, if that is not one of the first `known`: bool [P]."""
    rows, others = np.concatenate([pairs.a, pairs.b]), np.concatenate([pairs.b, pairs.a])
    order = np.lexsort((others, -np.tile(pairs.products, 2), rows))
    ordered = rows[order]
    nearest = np.empty(len(order), bool)
    nearest[order] = (np.arange(len(order)) - np.searchsorted(ordered, ordered) < neighbours) & (ordered >= known)
    return nearest[: len(pairs.a)] | nearest[len(pairs.a) :]
