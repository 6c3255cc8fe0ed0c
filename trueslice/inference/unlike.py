"""Whether a scan is like those that the model was trained on: how far it is from the nearest of them.

What is compared are coarse thumbnails, as the scans lie or mirrored: embeddings of small models tell less
(docs/predicting.md). The threshold is set on validation scans. How often it warns is measured on test scans, where it
should not, and on pictures that are no such scans (strange.py), where it should.
"""

import numpy as np

NEIGHBOURS = 5
QUANTILE = 0.99  # of the distances of validation scans, at which the threshold lies


def distances(similarities: np.ndarray) -> np.ndarray:
    """One minus the mean similarity to the nearest training scans.

    From similarities [B, N] to all of them, at most 1: float64 [B].
    """
    count = min(NEIGHBOURS, similarities.shape[1])
    nearest = np.partition(similarities, similarities.shape[1] - count, axis=1)[:, -count:]
    return 1 - nearest.mean(axis=1, dtype=np.float64)


def threshold(validation: np.ndarray) -> float:
    """The distance from which a scan is unlike, by those of validation scans, float64 [V]."""
    return float(np.quantile(validation, QUANTILE).round(6))
