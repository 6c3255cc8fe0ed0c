"""What the calibration error of a model is compared with."""

import numpy as np

from tumorclip.evaluate.metrics import ece

DRAWS = 200


def ece_if_calibrated(confidence: np.ndarray, groups: np.ndarray, seed: int = 0) -> float:
    """The calibration error that a perfectly calibrated model shows by chance alone, on as many scans.

    Mean over 200 draws. In each, a prediction is right with the probability stated, and copies share their luck.
    `confidence`, float64 [N], is the probability of the predicted class; `groups`, [N], are the same for copies.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    luck = np.random.default_rng(seed).random((DRAWS, numbers.max() + 1))
    return float(np.mean([ece(confidence, draw[numbers] < confidence) for draw in luck]))
