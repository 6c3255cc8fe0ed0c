"""Temperature scaling: one divisor of the logits, which calibrates the probabilities."""

import numpy as np
from scipy.optimize import brentq
from scipy.special import softmax

from trueslice.records.trained import HIGHEST, LOWEST


def fit(logits: np.ndarray, y_true: np.ndarray) -> float:
    """Return the temperature, 0.05 to 20, at which class indices y, int [N], are most likely for logits z, [N, K].

    (Guo et al. 2017, "On calibration of modern neural networks".) The negative log-likelihood,
    mean_i( logsumexp_k(b z_ik) - b z_iy ), is convex in b = 1 / temperature, so its slope has one zero. If every scan
    is classified correctly, there is no maximum, and the result is 1.
    """
    logits = np.asarray(logits, np.float64)
    own = logits[np.arange(len(y_true)), y_true]
    if (own >= logits.max(axis=1)).all():
        return 1.0

    def slope(inverse: float) -> float:
        return float(((softmax(inverse * logits, axis=1) * logits).sum(axis=1) - own).mean())

    if slope(1 / HIGHEST) >= 0:
        return HIGHEST
    if slope(1 / LOWEST) <= 0:
        return LOWEST
    return 1 / brentq(slope, 1 / HIGHEST, 1 / LOWEST, xtol=1e-12)
