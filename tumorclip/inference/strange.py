"""Pictures that a classifier of brain scans should not answer for, to measure whether it says so."""

import numpy as np

COUNT = 200  # pictures of each kind


def strange(scans: np.ndarray) -> dict[str, np.ndarray]:
    """Such pictures by their kind, uint8 [n, S, S] or [n, S, S, 3], some of them made of `scans` of that shape."""
    chosen = scans[np.linspace(0, len(scans) - 1, min(COUNT, len(scans))).astype(int)]
    generator = np.random.default_rng(0)
    return {
        "inverted scans": 255 - chosen,
        "upside-down scans": chosen[:, ::-1],
        "noise": generator.integers(0, 256, (COUNT, *scans.shape[1:]), dtype=np.uint8),
        "blank": np.full((1, *scans.shape[1:]), 0, np.uint8),
    }
