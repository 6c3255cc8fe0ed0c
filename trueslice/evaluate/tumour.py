"""Tumour against healthy: how well the probability of a tumour tells them apart, and what a threshold on it is worth.

A threshold is chosen on the validation scans and then held: chosen on the test scans it would look better than it is.
"""

import numpy as np

from trueslice.evaluate import metrics
from trueslice.evaluate.intervals import UNIT, GroupBootstrap, percentile_interval
from trueslice.params import Evaluate
from trueslice.tables.external import ExternalPredictions
from trueslice.tables.predictions import Predictions

# False alarms at which the ROC curve is given, finer where it bends.
FALSE_ALARMS = np.r_[np.arange(0, 20) / 100, np.arange(4, 21) / 20]


def probability(predictions: Predictions | ExternalPredictions, healthy: int) -> np.ndarray:
    """Of a tumour of any kind, float64 [N]."""
    return 1 - predictions.probabilities[:, healthy]


def threshold(validation: Predictions, healthy: int, sensitivity: float) -> float | None:
    """The highest probability from which on at least this share of the tumours is found; None without tumours."""
    found = np.sort(probability(validation, healthy)[validation.y_true != healthy])[::-1]
    # Rounded, since 0.95 x 20 may be a little more than 19.
    return float(found[int(np.ceil(round(sensitivity * len(found), 9))) - 1]) if len(found) else None


def at_threshold(
    predictions: Predictions | ExternalPredictions, healthy: int, least: float, bootstrap: GroupBootstrap
) -> dict:
    """Sensitivity and specificity where a scan is called a tumour from the probability `least` on."""
    called, is_tumour = probability(predictions, healthy) >= least, predictions.y_true != healthy
    row = {}
    for name, hits, among in (("sensitivity", called, is_tumour), ("specificity", ~called, ~is_tumour)):
        value, interval = bootstrap.share(hits, among)
        row |= {name: None if np.isnan(value) else value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return row


def predictive_values(row: dict, prevalence: float) -> dict:
    """PPV and NPV of a row of `at_threshold` where this share of the scans shows a tumour (Bayes).

    Their limits are those at the lower, and at the upper limits of both sensitivity and specificity. That is a little
    wider than 95 %: at a low prevalence the PPV depends on the specificity nearly alone.
    """
    result = {}
    for end in ("", "_low", "_high"):
        sensitivity, specificity = row[f"sensitivity{end}"], row[f"specificity{end}"]
        if sensitivity is None or specificity is None:
            result |= {f"ppv{end}": None, f"npv{end}": None}
            continue
        found, alarms = prevalence * sensitivity, (1 - prevalence) * (1 - specificity)
        missed, cleared = prevalence - found, (1 - prevalence) - alarms
        result[f"ppv{end}"] = found / (found + alarms) if found + alarms > 0 else None
        result[f"npv{end}"] = cleared / (cleared + missed) if cleared + missed > 0 else None
    return result


def score(
    predictions: Predictions, validation: Predictions, healthy: int, params: Evaluate, bootstrap: GroupBootstrap
) -> dict:
    """The entry `tumour` of metrics/test.json."""
    is_tumour, probabilities = predictions.y_true != healthy, probability(predictions, healthy)
    area, interval = bootstrap.estimate(lambda weights: metrics.auroc(is_tumour, probabilities, weights), UNIT)
    points = []
    for target in params.sensitivities:
        least = threshold(validation, healthy, target)
        if least is not None:
            points.append({"target": target, "threshold": least} | at_threshold(predictions, healthy, least, bootstrap))
    return {
        "auroc": None if np.isnan(area) else area,
        **interval._asdict(),
        "roc": _roc(is_tumour, probabilities, bootstrap),
        "operating_points": points,
        "predictive_values": [
            {"target": point["target"], "prevalence": prevalence} | predictive_values(point, prevalence)
            for point in points
            for prevalence in params.prevalences
        ],
    }


def _roc(is_tumour: np.ndarray, probabilities: np.ndarray, bootstrap: GroupBootstrap) -> list[dict]:
    """The curve with a band of intervals, each for one share of false alarms; empty if either side is missing."""
    if is_tumour.all() or not is_tumour.any():
        return []

    def sensitivities(weights: np.ndarray) -> np.ndarray:
        curves = zip(*metrics.roc(is_tumour, probabilities, weights), strict=True)
        return np.array([np.interp(FALSE_ALARMS, alarms, found) for alarms, found in curves])

    curve = sensitivities(np.ones((1, len(is_tumour))))[0]
    band = map(percentile_interval, bootstrap.resampled(sensitivities).T)
    return [
        {"false_alarms": at, "sensitivity": value, "low": interval.low, "high": interval.high}
        for at, value, interval in zip(FALSE_ALARMS.tolist(), curve.tolist(), band, strict=True)
    ]
