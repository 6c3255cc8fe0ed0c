"""How wide the interval of an accuracy will be, before there are scans: `share_interval` at the variance to expect."""

from typing import NamedTuple

import numpy as np

from trueslice.evaluate.intervals import FEW_GROUPS, NEAR_ONE, Z, size_left, wilson_interval
from trueslice.tables.predictions import Predictions


class Design(NamedTuple):
    """A test set that is planned, of any number of patients."""

    accuracy: float  # share of the scans that will be right, between 0 and 1
    scans: float  # mean number of scans of a patient, 1 or more
    unequal: float  # variance of this number over its squared mean: 0 where all patients have as many
    correlation: float  # of right and wrong between two scans of a patient, from 0 to 1


def design_of(predictions: Predictions) -> Design:
    """Estimate the design of a run, whose units stand for patients.

    The correlation is that of the analysis of variance (Fleiss, Levin & Paik 2003, section 15.2), cut at 0 and 1: with
    mean squares B between units and W within, and about m scans a unit, (B - W) / (B + (m - 1) W). Where no unit tells,
    it is taken as 1, which gives the widest interval.
    """
    units = np.unique(predictions.unit, return_inverse=True)[1]
    sizes, correct = np.bincount(units), predictions.y_pred == predictions.y_true
    right, scans, count = np.bincount(units, weights=correct), len(units), len(sizes)
    between = (sizes * (right / sizes - correct.mean()) ** 2).sum() / max(count - 1, 1)
    within = (right - right**2 / sizes).sum() / max(scans - count, 1)
    size = (scans - (sizes**2).sum() / scans) / max(count - 1, 1)
    spread = between + (size - 1) * within
    correlation = np.clip((between - within) / spread, 0, 1) if spread > 0 and count > 1 else 1.0
    return Design(float(correct.mean()), scans / count, float(sizes.var() / sizes.mean() ** 2), float(correlation))


def expected(design: Design, patients: int) -> tuple[float, float]:
    """Compute the ends of the 95 % interval that a run on this number of patients will have if it reaches the accuracy.

    The variance of the accuracy is p (1 - p) / n (1 + correlation (sum of sizes^2 / n - 1)) for n scans.
    """
    accuracy, scans, unequal, correlation = design
    largest = scans * (1 + unequal)  # sum of sizes^2 / n
    of_one = accuracy * (1 - accuracy)
    variance = of_one / (patients * scans) * (1 + correlation * (largest - 1))
    size = patients / (1 + unequal)  # effective units
    if size >= FEW_GROUPS and 1 - NEAR_ONE <= accuracy <= NEAR_ONE:
        return accuracy - Z * variance**0.5, accuracy + Z * variance**0.5
    return wilson_interval(accuracy, size * size_left(of_one / size, variance, patients - 1))
