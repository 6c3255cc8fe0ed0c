"""How far stated probabilities can be believed."""

from typing import NamedTuple

import numpy as np

BINS = 15
DRAWS = 200


class Reliability(NamedTuple):
    """What the predictions of every bin of confidence come to, [15] each; NaN where a bin is empty.

    `scans`: their number. `confidence`: mean probability of the predicted class. `accuracy`: share that is right.
    """

    scans: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def calibration(actual: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Negative log-likelihood in nats, Brier score and expected calibration error; of each, less is better.

    The Brier score is the squared distance to the truth summed over the classes, from 0 to 2 (Brier 1950).

    Args:
        actual: class indices, int [N].
        probabilities: rows sum to 1, float64 [N, K].
    """
    from sklearn.metrics import brier_score_loss, log_loss

    labels = np.arange(probabilities.shape[1])
    return {
        "nll": float(log_loss(actual, probabilities, labels=labels)),
        "brier": float(brier_score_loss(actual, probabilities, labels=labels, scale_by_half=False)),
        "ece": expected_calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == actual),
    }


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Mean gap between confidence and accuracy within 15 equal bins (Guo et al. 2017, eq. 3), from 0 to 1.

    Args:
        confidence: probability of the predicted class, [N].
        correct: whether it is the actual one, bool [N].
    """
    bins = reliability(confidence, correct)
    gaps = np.nan_to_num(np.abs(bins.confidence - bins.accuracy))
    return float((bins.scans * gaps).sum() / len(confidence))


def reliability(confidence: np.ndarray, correct: np.ndarray) -> Reliability:
    """Hold confidence against accuracy within 15 equal bins, as `expected_calibration_error` sums them up.

    Args:
        confidence: probability of the predicted class, [N].
        correct: whether it is the actual one, bool [N].
    """
    bins = bin_of(confidence)
    scans = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(bins, weights=values, minlength=BINS) / scans for values in (confidence, correct)]
    return Reliability(scans, *means)


def before_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """The probabilities, float64 [N, K], that became `probabilities` when their logits were divided by `temperature`.

    Those too small for a float count as the smallest.
    """
    logits = temperature * np.log(np.maximum(probabilities, np.finfo(float).tiny))
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def bin_of(confidence: np.ndarray) -> np.ndarray:
    """The bin, from 0 to 14, of each confidence: bin b holds those above b / 15 and up to (b + 1) / 15."""
    return np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)


def ece_if_calibrated(probabilities: np.ndarray, groups: np.ndarray, seed: int) -> float:
    """The calibration error that a perfectly calibrated model shows by chance alone, on as many scans.

    Mean over 200 draws in which each predicted class is right with the probability stated; copies share their luck.

    Args:
        probabilities: float64 [N, K].
        groups: groups of copies, any type, [N].
    """
    confidence = probabilities.max(axis=1)
    _, numbers = np.unique(groups, return_inverse=True)
    luck = np.random.default_rng(seed).random((DRAWS, numbers.max() + 1))
    return float(np.mean([expected_calibration_error(confidence, draw[numbers] < confidence) for draw in luck]))
