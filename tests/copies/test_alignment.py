"""Aligned pairs are judged alike whichever of the two scans comes first."""

import numpy as np

from trueslice.copies.alignment import promising


def test_a_pair_is_promising_if_it_is_so_either_way():
    rng = np.random.default_rng(0)
    first = np.kron(rng.random((40, 16, 16)), np.ones((8, 8))).astype(np.float32)
    second = first + rng.random((40, 128, 128), np.float32) * rng.uniform(0, 1, (40, 1, 1)).astype(np.float32)
    forth, back = (np.repeat([[[scale, 0, 0], [0, scale, 0]]], 40, axis=0) for scale in (1.02, 1 / 1.02))
    for least in np.linspace(0.8, 0.99, 20):
        assert np.array_equal(promising(first, second, forth, least), promising(second, first, back, least))
    assert 0 < promising(first, second, forth, 0.9).sum() < 40
