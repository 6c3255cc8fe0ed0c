"""The pairs found among many scans are those that comparing all of them with each other in whole numbers gives."""

import numpy as np
import pytest

from trueslice.copies import neighbours
from trueslice.copies.thumbnails import KINDS, RESOLUTION, products_by_kind, turned, whole_units

FLOOR = 0.96 * RESOLUTION**2


def pictures(count: int = 90) -> np.ndarray:
    """Whole units of random pictures; some are turned copies of each other, noisy copies, alike to the bit, or even."""
    rng = np.random.default_rng(count)
    means = np.kron(rng.random((count, 4, 4)), np.ones((4, 4))) + 0.3 * rng.random((count, 16, 16))
    for row, kind in zip(range(8, 40), 4 * KINDS, strict=True):
        means[row + 40] = means[row].ravel()[turned(16, kind)].reshape(16, 16)
    means[20:30] += 0.2 * rng.random((10, 16, 16))
    means[[3, 50]] = 7
    means[83:] = means[82]
    return whole_units(means)


def compared(units: np.ndarray, floor: float, count: int, known: int, excluded: set[tuple[int, int]]) -> dict:
    """What `most_alike` must find: {(a, b): product}."""
    whole = units.astype(np.int64)
    products = np.max([whole @ whole[:, turned(16, kind)].T for kind in KINDS], axis=0)
    found = {}
    for row in range(known, len(units)):
        others = [other for other in range(len(units)) if other != row and tuple(sorted((row, other))) not in excluded]
        nearest = sorted(others, key=lambda other: (-products[row, other], other))[:count]
        alike = [other for other in others if products[row, other] >= floor]
        found |= {tuple(sorted((row, other))): int(products[row, other]) for other in {*nearest, *alike}}
    return found


@pytest.mark.parametrize("floor", [FLOOR, np.inf])
@pytest.mark.parametrize("known", [0, 33])
@pytest.mark.parametrize("tile", [(512, 2048), (16, 40), (7, 5)])
def test_pairs_are_those_of_comparing_all(floor, known, tile, monkeypatch):
    monkeypatch.setattr(neighbours, "TILE", tile)
    units = pictures()
    for excluded in (set(), {(8, 48), (10, 50), (34, 35), (82, 89)}):
        rows = np.array(sorted(excluded), dtype=int).reshape(-1, 2).T
        found = neighbours.most_alike(units, floor, 4, known=known, excluded=tuple(rows))
        expected = compared(units, floor, 4, known, excluded)
        assert list(zip(found.a.tolist(), found.b.tolist(), strict=True)) == sorted(expected)
        assert found.products.tolist() == [expected[pair] for pair in sorted(expected)]


@pytest.mark.parametrize(("side", "dtype"), [(16, np.float32), (64, np.float64)])
def test_products_of_pairs_are_exact_in_all_orientations(side, dtype):
    rng = np.random.default_rng(side)
    flat = rng.integers(-250, 250, (12, side * side)).astype(np.float32)
    a, b = rng.integers(0, 12, (2, 50))
    whole = flat.astype(np.int64)
    expected = [[whole[i] @ whole[j][turned(side, kind)] for kind in KINDS] for i, j in zip(a, b, strict=True)]
    products = products_by_kind(flat, a, b, dtype)
    assert products.dtype == dtype
    assert np.array_equal(products, expected)
    assert products_by_kind(flat, a[:0], b[:0], dtype).shape == (0, 8)
