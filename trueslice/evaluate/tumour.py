"""Tumour of any kind against the negative class: the ROC curve, and scores at thresholds of the probability.

A threshold is chosen on the validation scans and then kept: chosen on the test scans it would look better than it is.
"""

from typing import Any

import numpy as np

from trueslice.evaluate import metrics
from trueslice.evaluate.intervals import GroupBootstrap, effective_size, score_interval
from trueslice.params import Evaluate
from trueslice.records.tumour import AtThreshold, PredictiveValues, RocPoint, TumourScores
from trueslice.tables.external import ExternalPredictions
from trueslice.tables.predictions import Predictions

# False alarms at which the ROC curve is given, finer where it bends.
FALSE_ALARMS = np.r_[np.arange(0, 20) / 100, np.arange(4, 21) / 20]


def probability(predictions: Predictions | ExternalPredictions, negative: int) -> np.ndarray:
    """Return the probability of a tumour of any kind, float64 [N]."""
    return 1 - predictions.probabilities[:, negative]


def threshold(validation: Predictions, negative: int, sensitivity: float) -> float | None:
    """Return the highest probability from which on this share of the tumours is found; None without tumours."""
    found = np.sort(probability(validation, negative)[validation.y_true != negative])[::-1]
    # Rounded, since 0.95 x 20 may be a little more than 19.
    return float(found[int(np.ceil(round(sensitivity * len(found), 9))) - 1]) if len(found) else None


def at_threshold(
    predictions: Predictions | ExternalPredictions,
    negative: int,
    target: float,
    least: float,
    bootstrap: GroupBootstrap,
) -> AtThreshold:
    """Score a threshold: a scan is called a tumour from the probability `least` on, which was chosen for `target`."""
    called, is_tumour = probability(predictions, negative) >= least, predictions.y_true != negative
    return AtThreshold(
        target=target,
        threshold=least,
        **bootstrap.share(called, is_tumour).limits("sensitivity"),
        **bootstrap.share(~called, ~is_tumour).limits("specificity"),
    )


def predictive_values(point: AtThreshold, prevalence: float) -> PredictiveValues:
    """Compute PPV and NPV at a threshold if this share of the scans showed a tumour (Bayes).

    Their limits are the values at the lower, and at the upper limits of both sensitivity and specificity. This is a
    little wider than 95 %: at a low prevalence the PPV depends on the specificity nearly alone.
    """
    values: dict[str, Any] = {}
    for end in ("", "_low", "_high"):
        sensitivity, specificity = (getattr(point, f"{name}{end}") for name in ("sensitivity", "specificity"))
        if sensitivity is None or specificity is None:
            values |= {f"ppv{end}": None, f"npv{end}": None}
            continue
        found, alarms = prevalence * sensitivity, (1 - prevalence) * (1 - specificity)
        missed, cleared = prevalence - found, (1 - prevalence) - alarms
        values[f"ppv{end}"] = found / (found + alarms) if found + alarms > 0 else None
        values[f"npv{end}"] = cleared / (cleared + missed) if cleared + missed > 0 else None
    return PredictiveValues(target=point.target, prevalence=prevalence, **values)


def score(
    predictions: Predictions, validation: Predictions, negative: int, params: Evaluate, bootstrap: GroupBootstrap
) -> TumourScores:
    """Score the probability of a tumour, and the thresholds that reach `params.sensitivities` on validation."""
    is_tumour, probabilities = predictions.y_true != negative, probability(predictions, negative)
    auroc = bootstrap.estimate(metrics.auroc, is_tumour, probabilities)
    chosen = {target: threshold(validation, negative, target) for target in params.sensitivities}
    points = [
        at_threshold(predictions, negative, target, least, bootstrap)
        for target, least in chosen.items()
        if least is not None
    ]
    return TumourScores(
        **auroc.fields("auroc"),
        roc=roc_curve(is_tumour, probabilities, bootstrap),
        operating_points=points,
        predictive_values=[predictive_values(point, share) for point in points for share in params.prevalences],
    )


def roc_curve(is_tumour: np.ndarray, probabilities: np.ndarray, bootstrap: GroupBootstrap) -> list[RocPoint]:
    """Compute the curve with an interval for each share of false alarms; empty if either side is missing.

    That none of n healthy scans is as suspicious as a tumour is likely with up to 3 / n of all healthy scans (the rule
    of three). So below this share of false alarms, with n effective units, the band begins at 0.
    """
    if is_tumour.all() or not is_tumour.any():
        return []

    def sensitivities(weights: np.ndarray) -> np.ndarray:
        curves = zip(*metrics.roc(is_tumour, probabilities, weights), strict=True)
        return np.array([np.interp(FALSE_ALARMS, alarms, found) for alarms, found in curves])

    curve, without = bootstrap.weighted(sensitivities)
    least = 3 / effective_size(bootstrap.sizes(~is_tumour))
    points = []
    for at, value, each in zip(FALSE_ALARMS.tolist(), curve.tolist(), without.T, strict=True):
        interval = score_interval("roc", value, each, bootstrap.sizes(is_tumour))
        if interval.low is not None and at < least:
            interval = interval._replace(low=0.0)
        points.append(RocPoint(false_alarms=at, sensitivity=value, low=interval.low, high=interval.high))
    return points
