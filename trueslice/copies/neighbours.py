"""Nearest neighbours among very many scans: all pairs from a threshold on, and the most alike ones of every scan.

Products are whole numbers that float32 holds exactly, so the result is the same on every machine.
"""

from math import isqrt
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trueslice.copies.alignment import side_by_side
from trueslice.copies.thumbnails import KINDS, RESOLUTION, turned

TILE = (512, 2048)  # rows and columns; more does not fit the cache of a CPU
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
    everything = torch.from_numpy(units).to(device)
    orders = [torch.from_numpy(turned(isqrt(units.shape[1]), kind)).to(device) for kind in KINDS]
    smaller, larger = (rows[np.argsort(excluded[1], kind="stable")] for rows in excluded)
    last, found = _flat(units, neighbours, known)

    def search(start: int) -> None:
        rows = slice(start, min(start + TILE[0], len(units)))
        skipped = slice(*np.searchsorted(larger, [rows.start, rows.stop]))
        own = [everything[rows][:, order] for order in orders]
        for stop in range(rows.stop, 0, -TILE[1]):  # the nearest columns first: in most folders neighbours are alike
            columns = slice(max(0, stop - TILE[1]), stop)
            i, j = larger[skipped] - rows.start, smaller[skipped] - columns.start
            inside = (j >= 0) & (j < columns.stop - columns.start)
            best = _products(own, everything[columns], rows.start - columns.start)
            best[i[inside], j[inside]] = -torch.inf
            if best.shape[1] >= neighbours:
                last[rows] = np.maximum(last[rows], best.topk(neighbours).values[:, -1].cpu().numpy())
            needed = np.minimum(last, np.float32(floor))
            ahead, behind = (torch.from_numpy(needed[part]).to(device) for part in (rows, columns))
            a, b = torch.nonzero((best >= ahead[:, None]) | (best >= behind), as_tuple=True)
            i, j, products = (each.cpu().numpy() for each in (a, b, best[a, b]))
            found.append((columns.start + j, rows.start + i, products))

    side_by_side(search, range(known, len(units), TILE[0]))
    a, b, products = (np.concatenate(parts) for parts in zip(*found, strict=True))
    keys, at = np.unique(np.minimum(a, b) * len(units) + np.maximum(a, b), return_index=True)
    alike = Alike(*np.divmod(keys, len(units)), products[at])
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
    return last, [(first + (first >= flat), flat, np.zeros(len(flat), np.float32))]


def _products(own: list[Tensor], others: Tensor, offset: int) -> Tensor:
    """Multiply rows in all orientations with others, and keep the best: float32 [rows, others].

    Row i is at `offset` + i of the others; it has minus infinity for itself and later ones.
    """
    best = own[0] @ others.T
    product = torch.empty_like(best)
    for each in own[1:]:
        torch.maximum(best, torch.mm(each, others.T, out=product), out=best)
    if len(others) > offset:
        best.masked_fill_(torch.ones_like(best, dtype=torch.bool).triu(offset), -torch.inf)
    return best


def _among_nearest(pairs: Alike, neighbours: int, known: int) -> np.ndarray:
    """Tell which pairs are among the nearest of either row, if that is not one of the first `known`: bool [P]."""
    rows, others = np.concatenate([pairs.a, pairs.b]), np.concatenate([pairs.b, pairs.a])
    order = np.lexsort((others, -np.tile(pairs.products, 2), rows))
    ordered = rows[order]
    nearest = np.empty(len(order), bool)
    nearest[order] = (np.arange(len(order)) - np.searchsorted(ordered, ordered) < neighbours) & (ordered >= known)
    return nearest[: len(pairs.a)] | nearest[len(pairs.a) :]
