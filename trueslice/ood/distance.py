"""Distance of a scan to the training scans.

Coarse thumbnails are compared, as the scans are or mirrored: embeddings of small models tell less
(docs/predicting.md).
"""

import numpy as np

from trueslice.copies.search import COARSE
from trueslice.copies.thumbnails import RESOLUTION, shrunk, turned, whole_units

NEIGHBOURS = 5
BLOCK = 1024  # scans at once


def rounded(thumbnails: np.ndarray) -> np.ndarray:
    """Round thumbnails to whole grey values, which a released model keeps: uint8 [N, 64, 64]."""
    return np.rint(thumbnails).astype(np.uint8)


def coarse(thumbnails: np.ndarray) -> np.ndarray:
    """Shrink rounded thumbnails, uint8 [N, 64, 64], to whole units of 16 x 16: float32 [N, 256]."""
    blocks = np.array_split(thumbnails, 1 + len(thumbnails) // BLOCK)
    return np.concatenate([whole_units(shrunk(block, COARSE)) for block in blocks])


def distances(scans: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return one minus the mean correlation with the nearest training scans, of `coarse` ones: float64 [N], rounded."""
    found = [np.empty(0)]
    for block in np.array_split(scans, 1 + len(scans) // BLOCK):
        products = [block[:, turned(COARSE, kind)] @ train.T for kind in ("near", "mirrored")]
        found.append(knn_distances(np.maximum(*products) / RESOLUTION**2))
    return np.concatenate(found)


def knn_distances(similarities: np.ndarray) -> np.ndarray:
    """Return one minus the mean of the highest similarities to M training scans, [N, M]: float64 [N]."""
    count = min(NEIGHBOURS, similarities.shape[1])
    nearest = np.partition(similarities, similarities.shape[1] - count, axis=1)[:, -count:]
    return (1 - nearest.mean(axis=1, dtype=np.float64)).round(6)
