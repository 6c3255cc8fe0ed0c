"""Scores of predictions. The same function computes a value, and the values without some of the scans.

Scores of predicted classes take confusion counts [..., K, K], with the true class in rows and the predicted class in
columns. They give [...], or [..., K] where each class has a value of its own. NaN is a value that is not defined: a
mean over the classes is NaN as soon as one class has no value, because the mean over the others is another quantity,
and would reward a model for never predicting a hard class.
"""

from collections.abc import Callable
from functools import update_wrapper

import numpy as np

ECE_BINS = 15


Counts = tuple[np.ndarray, np.ndarray]


class Share:
    """A score that is a share of scans. `counts` returns part and whole; intervals are computed from them."""

    def __init__(self, counts: Callable[..., Counts]):
        self.counts = counts
        update_wrapper(self, counts)

    def __call__(self, confusions: np.ndarray, *arguments) -> np.ndarray:
        """Compute the score: [...] or [..., K] from [..., K, K]."""
        return _ratio(*self.counts(confusions, *arguments))


# Scores of all classes together: [...].


@Share
def accuracy(confusions: np.ndarray) -> Counts:
    """Share of the scans that are right."""
    hits, _, _, scans = _counts(confusions)
    return hits.sum(axis=-1), scans


@Share
def missed_tumours(confusions: np.ndarray, negative: int) -> Counts:
    """Share of the tumours that are predicted as the negative class, whose index is `negative`."""
    hits, true, predicted, scans = _counts(confusions)
    return predicted[..., negative] - hits[..., negative], scans - true[..., negative]


@Share
def false_alarms(confusions: np.ndarray, negative: int) -> Counts:
    """Share of the scans of the negative class, whose index is `negative`, that are predicted as a tumour."""
    hits, true, _, _ = _counts(confusions)
    return true[..., negative] - hits[..., negative], true[..., negative]


def balanced_accuracy(confusions: np.ndarray) -> np.ndarray:
    """Mean recall over the classes."""
    return recall(confusions).mean(axis=-1)


def macro_precision(confusions: np.ndarray) -> np.ndarray:
    """Mean precision over the classes."""
    return precision(confusions).mean(axis=-1)


def macro_f1(confusions: np.ndarray) -> np.ndarray:
    """Mean F1 score over the classes."""
    return f1(confusions).mean(axis=-1)


def mcc(confusions: np.ndarray) -> np.ndarray:
    """Matthews' correlation coefficient for K classes (Gorodkin 2004, eq. 8).

    NaN if all scans are of one class, or are predicted as one.
    """
    hits, true, predicted, scans = _counts(confusions)
    covariance = hits.sum(axis=-1) * scans - (true * predicted).sum(axis=-1)
    spread = (scans**2 - (true**2).sum(axis=-1)) * (scans**2 - (predicted**2).sum(axis=-1))
    return _ratio(covariance, np.sqrt(np.maximum(spread, 0)))


def cohen_kappa(confusions: np.ndarray) -> np.ndarray:
    """Agreement beyond chance (Cohen 1960). NaN if all scans are of one class and predicted as that class."""
    hits, true, predicted, scans = _counts(confusions)
    chance = (true * predicted).sum(axis=-1)
    return _ratio(hits.sum(axis=-1) * scans - chance, scans**2 - chance)


# Scores of each class against the rest: [..., K].


@Share
def recall(confusions: np.ndarray):
    """Sensitivity: share of the scans of a class that are recognised. NaN without scans of the class."""
    hits, true, _, _ = _counts(confusions)
    return hits, true


@Share
def precision(confusions: np.ndarray):
    """Positive predictive value. NaN for a class that is never predicted."""
    hits, _, predicted, _ = _counts(confusions)
    return hits, predicted


@Share
def specificity(confusions: np.ndarray):
    """Share of the scans of other classes that are called another class. NaN without scans of other classes."""
    hits, true, predicted, scans = _counts(confusions)
    others = scans[..., None] - true
    return others - predicted + hits, others


@Share
def npv(confusions: np.ndarray):
    """Negative predictive value. NaN for a class that is always predicted."""
    hits, true, predicted, scans = _counts(confusions)
    others = scans[..., None] - predicted
    return others - true + hits, others


def f1(confusions: np.ndarray) -> np.ndarray:
    """2 TP / (2 TP + FP + FN): 0 for a class that has scans and is never predicted, NaN for one without either."""
    hits, true, predicted, _ = _counts(confusions)
    return _ratio(2 * hits, true + predicted)


# Scores of the ranking of N scans by the probability of a class. `positive`, bool [N], is True for scans of the class;
# `weights`, float [R, N], how often each scan counts: all 1 for the point value. Scans of equal probability count as
# one threshold.


def auroc(positive: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve: float64 [R]. NaN without scans of the class, or of others."""
    positives, negatives = _per_threshold(positive, probability, weights)
    above = positives.cumsum(axis=1)
    area = (negatives * (above - positives / 2)).sum(axis=1)
    return _ratio(area, positives.sum(axis=1) * negatives.sum(axis=1))


def average_precision(positive: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean precision over the scans of the class, each at its own threshold: float64 [R]. NaN without any."""
    positives, negatives = _per_threshold(positive, probability, weights)
    above, below = positives.cumsum(axis=1), negatives.cumsum(axis=1)
    precisions = np.nan_to_num(_ratio(above, above + below))
    return _ratio((positives * precisions).sum(axis=1), above[:, -1])


def roc(positive: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> Counts:
    """Compute false alarms and sensitivity at T thresholds, from none called positive to all: float64 [R, T + 1]."""
    sides = _per_threshold(positive, probability, weights)
    sensitivity, false_alarms = (np.pad(_shares(side), ((0, 0), (1, 0))) for side in sides)
    return false_alarms, sensitivity


def risk_coverage(wrong: np.ndarray, confidence: np.ndarray, weights: np.ndarray) -> Counts:
    """Share of the scans that are answered, and errors among these, at each threshold of confidence: float64 [R, T]."""
    errors, right = (side.cumsum(axis=1) for side in _per_threshold(wrong, confidence, weights))
    answered = errors + right
    return _ratio(answered, np.broadcast_to(answered[:, -1:], answered.shape)), np.nan_to_num(_ratio(errors, answered))


def risk_coverage_area(wrong: np.ndarray, confidence: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean risk over all coverages: float64 [R], 0 for a model that is never wrong (Geifman & El-Yaniv 2017)."""
    coverage, risk = risk_coverage(wrong, confidence, weights)
    return (np.diff(coverage, axis=1, prepend=0) * risk).sum(axis=1)


# Scores of probabilities, float64 [N, K]. The first two give a value for each scan, float64 [N]; the score is its mean.


def nll(y_true: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Negative log-likelihood in nats, of probabilities not below the spacing of floats at 1."""
    of_true = probabilities[np.arange(len(y_true)), y_true]
    return -np.log(np.maximum(of_true, np.finfo(float).eps))


def brier(y_true: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Squared distance to the truth, summed over the classes, from 0 to 2 (Brier 1950)."""
    return ((probabilities - np.eye(probabilities.shape[1])[y_true]) ** 2).sum(axis=1)


def ece(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Compute the expected calibration error: mean gap of confidence and accuracy in 15 equal bins, from 0 to 1.

    Guo et al. 2017, eq. 3. `confidence`, [N], is the probability of the predicted class, `correct` if it is right.
    """
    gaps = np.bincount(confidence_bins(confidence), weights=confidence - correct, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def confidence_bins(confidence: np.ndarray) -> np.ndarray:
    """Return the bin, from 0 to 14, of each confidence: bin b is above b / 15 and up to (b + 1) / 15."""
    return np.clip(np.ceil(confidence * ECE_BINS).astype(int) - 1, 0, ECE_BINS - 1)


def _per_threshold(positive: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> Counts:
    """Count scans of the class and of others at each of T thresholds, the highest first: float64 [R, T] each."""
    order = np.argsort(-probability, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(probability[order]) != 0])
    weights, positive = weights[:, order], positive[order]
    if len(starts) == len(order):
        return weights * positive, weights * ~positive
    return np.add.reduceat(weights * positive, starts, axis=1), np.add.reduceat(weights * ~positive, starts, axis=1)


def _shares(counts: np.ndarray) -> np.ndarray:
    """Return running sums as shares of the whole, [R, T]."""
    sums = counts.cumsum(axis=1)
    return _ratio(sums, np.broadcast_to(sums[:, -1:], sums.shape))


def _counts(confusions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Count the scans of each class that are recognised, that are true, that are predicted: [..., K]; all: [...]."""
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    return hits, confusions.sum(axis=-1), confusions.sum(axis=-2), confusions.sum(axis=(-2, -1))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
