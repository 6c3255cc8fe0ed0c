"""Calibration: the difference between predicted probabilities and observed frequencies."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, softmax

from trueslice.evaluate import intervals, metrics
from trueslice.evaluate.intervals import Estimate, GroupBootstrap, Interval
from trueslice.records.test import Calibration
from trueslice.tables.predictions import ModelPredictions

DRAWS = 1000
SLOPE_COVERS = 0.87  # with 45 patients and 140 other groups, at worst: research/simulations/README.md
NOTHING = Estimate(np.nan, Interval())


class Recalibration(NamedTuple):
    """A logistic regression on the log odds of a tumour: slope 1 and intercept 0 if they are right."""

    slope: Estimate  # below 1 for a model that is too sure
    intercept: Estimate  # with the slope fixed at 1: above 0 for a model that expects too few tumours


def eces_if_calibrated(confidence: np.ndarray, groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """Draw the calibration errors that a perfectly calibrated model shows by chance, on as many scans: float64 [1000].

    In each draw a prediction is right with its probability, `confidence`, and the scans of a group share their luck.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    luck = np.random.default_rng(seed).random((DRAWS, numbers.max() + 1))
    return np.array([metrics.ece(confidence, draw[numbers] < confidence) for draw in luck])


def score(predictions: ModelPredictions, bootstrap: GroupBootstrap, negative: int | None) -> Calibration:
    """Score the probabilities after and before temperature, by chance, and by recalibration."""
    y_true, probabilities = predictions.y_true, predictions.probabilities
    before = softmax(predictions.logits, axis=1)
    confidence, correct = probabilities.max(axis=1), predictions.y_pred == y_true
    by_chance = eces_if_calibrated(confidence, bootstrap.numbers)
    ece = metrics.ece(confidence, correct)
    change = bootstrap.difference(metrics.nll(y_true, probabilities) - metrics.nll(y_true, before))
    found = Recalibration(NOTHING, NOTHING)
    if negative is not None:
        found = recalibration(y_true != negative, probabilities[:, negative], bootstrap.numbers)
    return Calibration(
        nll=float(metrics.nll(y_true, probabilities).mean()),
        brier=float(metrics.brier(y_true, probabilities).mean()),
        ece=ece,
        nll_before=float(metrics.nll(y_true, before).mean()),
        brier_before=float(metrics.brier(y_true, before).mean()),
        ece_before=metrics.ece(before.max(axis=1), correct),
        ece_if_calibrated=float(by_chance.mean()),
        ece_p95_if_calibrated=float(np.quantile(by_chance, 0.95)),
        ece_p_value=float((1 + (by_chance >= ece).sum()) / (1 + DRAWS)),
        verdict=_verdict(change.interval),
        **change.limits("nll_change"),
        **found.slope.limits("slope"),
        slope_covers=found.slope.interval.covers,
        **found.intercept.limits("intercept"),
    )


def recalibration(is_tumour: np.ndarray, negative: np.ndarray, groups: np.ndarray) -> Recalibration:
    """Fit tumour or not, bool [N], to the log odds of a tumour, given the `negative` class's probability, float64 [N].

    Cox 1958; Van Calster et al. 2019, BMC Medicine 17: both with standard errors over groups.
    No value where a side is missing, and no slope where the two are told apart without an error: it would be infinite.
    """
    tiny = np.finfo(float).eps
    odds = np.log(np.maximum(1 - negative, tiny)) - np.log(np.maximum(negative, tiny))
    of_tumours, of_negatives = odds[is_tumour], odds[~is_tumour]
    if not len(of_tumours) or not len(of_negatives):
        return Recalibration(NOTHING, NOTHING)
    one = np.ones_like(odds)
    intercept = _last_coefficient(one[:, None], odds, is_tumour, groups)
    if of_tumours.min() >= of_negatives.max() or of_negatives.min() >= of_tumours.max():
        return Recalibration(NOTHING, intercept)
    slope = _last_coefficient(np.stack([one, odds], axis=1), 0 * odds, is_tumour, groups)
    if slope.interval.low is not None and intervals.effective_size(np.bincount(groups)) < intervals.FEW_GROUPS:
        slope = slope._replace(interval=slope.interval._replace(covers=SLOPE_COVERS))
    return Recalibration(slope, intercept)


def _last_coefficient(design: np.ndarray, offset: np.ndarray, outcome: np.ndarray, groups: np.ndarray) -> Estimate:
    """Fit `outcome`, bool [N], to the columns of `design`, [N, P], by logistic regression."""
    columns = design.shape[1]

    def loss(coefficients: np.ndarray) -> tuple[float, np.ndarray]:
        line = offset + design @ coefficients
        return (np.logaddexp(0, line) - outcome * line).sum(), design.T @ (expit(line) - outcome)

    found = minimize(loss, np.zeros(columns), jac=True, method="BFGS", options={"gtol": 1e-6}).x
    share = expit(offset + design @ found)
    inverse = np.linalg.pinv(design.T @ (design * (share * (1 - share))[:, None]))
    sums = np.zeros((groups.max() + 1, columns))
    np.add.at(sums, groups, design * (outcome - share)[:, None])
    # The part of each group in the error, as if it were left out (Liang & Zeger 1986).
    error, freedom = intervals.model_error((sums @ inverse)[:, -1] * np.sqrt(len(sums) / max(len(sums) - 1, 1)))
    value = float(found[-1])
    return Estimate(value, intervals.student_interval(value, float(error), float(freedom), -np.inf, np.inf))


def _verdict(change: Interval) -> str:
    if change.low is None or change.high is None or change.low <= 0 <= change.high:
        return "did not help"
    return "helped" if change.high < 0 else "made it worse"
