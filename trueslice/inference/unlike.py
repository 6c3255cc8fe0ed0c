"""Threshold of the distance from which a scan is unlike those of training."""

import numpy as np

QUANTILE = 0.99  # of the distances of validation scans


def threshold(validation: np.ndarray) -> float:
    """Return the distance from which a scan is unlike, from distances of validation scans, float64 [V]."""
    return float(np.quantile(validation, QUANTILE).round(6))
