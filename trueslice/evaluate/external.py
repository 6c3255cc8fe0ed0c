"""What the finished model is worth on other data sets: the content of metrics/external.json.

Nothing is fitted here: weights, temperature and thresholds are those of development. Scans that are no copies count; no
table of patients is known for them, so that the interval is too narrow where one patient has several scans.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from trueslice.evaluate import metrics, tumour
from trueslice.evaluate.intervals import Estimate, GroupBootstrap
from trueslice.tables.external import ExternalPredictions


def score(
    predictions: ExternalPredictions,
    counts: Sequence[Mapping],
    negative_class: str | None,
    operating_points: Sequence[Mapping],
) -> dict:
    """Score each data set by itself.

    Args:
        predictions: of all scans of all sets.
        counts: the rows of data/external.json, one for each set.
        negative_class: the healthy class; None where there is none.
        operating_points: rows with `target` and `threshold`, as in metrics/test.json; none without a healthy class.
    """
    healthy = predictions.class_names.index(negative_class) if operating_points else 0
    sets = [(row, predictions.take(predictions.name == row["set"])) for row in counts]
    return {"sets": [{**row, **_score(scans, healthy, operating_points)} for row, scans in sets]}


def share_row(name: str, estimate: Estimate) -> dict:
    """A share called `name` and its interval; the reason says why one of them is missing."""
    value, (low, high, method, reason, *_) = estimate
    value = None if np.isnan(value) else value
    return {name: value, "low": low, "high": high, "method": method, "reason": reason}


def _score(scans: ExternalPredictions, healthy: int, operating_points: Sequence[Mapping]) -> dict:
    kept, correct = scans.dropped == "", scans.y_pred == scans.y_true
    bootstrap = GroupBootstrap(scans.group)
    accuracy, of_dropped = (bootstrap.share(correct, among) for among in (kept, scans.dropped == "development"))
    is_lacking = ~np.isin(np.arange(len(scans.class_names)), scans.y_true[kept])
    answered = is_lacking[scans.y_pred[kept]].mean() if kept.any() and is_lacking.any() else None
    rows = []
    for index, name in enumerate(scans.class_names):
        own = kept & (scans.y_true == index)
        rows.append({"class": name, "kept": int(own.sum())} | share_row("recall", bootstrap.share(correct, own)))
    return {
        "dropped_as_development": int((scans.dropped == "development").sum()),
        "dropped_within": int((scans.dropped == "within").sum()),
        "kept": int(kept.sum()),
        "kept_distinct": len(np.unique(scans.group[kept])),
        **share_row("accuracy", accuracy),
        "accuracy_of_dropped": share_row("accuracy", of_dropped)["accuracy"],
        "classes": rows,
        "missing_classes_answered": answered,
        "tumour": [_at(point, scans.take(kept), healthy) for point in operating_points if kept.any()] or None,
        **_of_probabilities(scans.take(kept)),
    }


def _at(point: Mapping, kept: ExternalPredictions, healthy: int) -> dict:
    row = {"target": point["target"], "threshold": point["threshold"]}
    return row | tumour.at_threshold(kept, healthy, point["threshold"], GroupBootstrap(kept.group))


def _of_probabilities(scans: ExternalPredictions) -> dict[str, float | None]:
    if len(scans) == 0:
        return {"nll": None, "ece": None}
    correct = scans.y_pred == scans.y_true
    return {
        "nll": float(metrics.nll(scans.y_true, scans.probabilities).mean()),
        "ece": metrics.ece(scans.probabilities.max(axis=1), correct),
    }
