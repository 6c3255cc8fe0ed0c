"""Scores of the finished model on other data sets: metrics/external.json.

Nothing is fitted here: weights, temperature and thresholds come from development. Only scans that are no copies count.
Their patients are not known, so the interval is too narrow where one patient has several scans.
"""

from collections.abc import Sequence

import numpy as np

from trueslice.evaluate import metrics, tumour
from trueslice.evaluate.intervals import SHARE, GroupBootstrap
from trueslice.records.external import ClassRecall, ExternalFiles, ExternalScores, SetFiles, SetScores
from trueslice.records.tumour import AtThreshold
from trueslice.tables.external import ExternalPredictions


def score(
    predictions: ExternalPredictions,
    files: ExternalFiles,
    negative_class: str | None,
    points: Sequence[AtThreshold],
) -> ExternalScores:
    """Score each data set by itself; `points` are thresholds of metrics/test.json, none without a negative class."""
    negative = predictions.class_names.index(negative_class) if points else 0
    sets = [_score(each, predictions.take(predictions.name == each.set), negative, points) for each in files.sets]
    return ExternalScores(sets=sets)


def _score(files: SetFiles, scans: ExternalPredictions, negative: int, points: Sequence[AtThreshold]) -> SetScores:
    kept, correct, is_known = scans.dropped == "", scans.y_pred == scans.y_true, scans.dropped == "development"
    bootstrap = GroupBootstrap(scans.group)
    is_lacking = ~np.isin(np.arange(len(scans.class_names)), scans.y_true[kept])
    answered = float(is_lacking[scans.y_pred[kept]].mean()) if kept.any() and is_lacking.any() else None
    classes = []
    for index, name in enumerate(scans.class_names):
        own = kept & (scans.y_true == index)
        recall = bootstrap.share(correct, own)
        classes.append(ClassRecall(class_name=name, kept=int(own.sum()), **recall.fields("recall", SHARE)))
    new = scans.take(kept)
    return SetScores(
        **dict(files),
        dropped_as_development=int(is_known.sum()),
        dropped_within=int((scans.dropped == "within").sum()),
        kept=len(new),
        kept_distinct=len(np.unique(new.group)),
        **bootstrap.share(correct, kept).fields("accuracy", SHARE),
        **bootstrap.share(correct, is_known).fields("accuracy_of_dropped", ()),
        classes=classes,
        missing_classes_answered=answered,
        tumour=[_at(point, new, negative) for point in points if len(new)] or None,
        nll=float(metrics.nll(new.y_true, new.probabilities).mean()) if len(new) else None,
        ece=metrics.ece(new.probabilities.max(axis=1), correct[kept]) if len(new) else None,
    )


def _at(point: AtThreshold, new: ExternalPredictions, negative: int) -> AtThreshold:
    return tumour.at_threshold(new, negative, point.target, point.threshold, GroupBootstrap(new.group))
