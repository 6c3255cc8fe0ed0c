"""Scores of the predictions on test scans: metrics/test.json, intervals.json, baselines.json and summary.json.

Every score is one `Score` with its value, its 95 % interval and, where one of them is missing, the reason. The other
records take their values from these.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import softmax

from trueslice.errors import UserError
from trueslice.evaluate import calibration, metrics, subsets, tumour
from trueslice.evaluate.compare import difference
from trueslice.evaluate.intervals import LIMITS, ConfusionBootstrap, Estimate, GroupBootstrap, Interval
from trueslice.params import Evaluate
from trueslice.records.base import Record
from trueslice.records.baselines import Baseline, Baselines
from trueslice.records.intervals import Intervals, Score, Unit
from trueslice.records.patients import PatientScores
from trueslice.records.summary import Summary
from trueslice.records.test import (
    ClassScores,
    CoveragePoint,
    ModelScores,
    PerDistinctScan,
    ReliabilityBin,
    RiskCoverage,
    SimilarityBin,
)
from trueslice.records.train import Training
from trueslice.records.withheld import Withheld
from trueslice.tables.predictions import BaselinePredictions, ModelPredictions, Predictions

Metric = Callable[..., np.ndarray]
OVERALL: dict[str, Metric] = {
    "accuracy": metrics.accuracy,
    "balanced_accuracy": metrics.balanced_accuracy,
    "macro_precision": metrics.macro_precision,
    "macro_f1": metrics.macro_f1,
    "mcc": metrics.mcc,
    "cohen_kappa": metrics.cohen_kappa,
}
OF_TUMOURS: dict[str, Metric] = {"missed_tumours": metrics.missed_tumours, "false_alarms": metrics.false_alarms}
PER_CLASS: dict[str, Metric] = {
    "recall": metrics.recall,
    "precision": metrics.precision,
    "f1": metrics.f1,
    "specificity": metrics.specificity,
    "npv": metrics.npv,
}
RANKING = {"auroc": metrics.auroc, "average_precision": metrics.average_precision}
PER_DISTINCT = "_per_distinct_scan"
OF_DISTINCT = ("accuracy", "balanced_accuracy", "macro_f1")
SIMILARITIES = (0.7, 0.8, 0.9, 0.95, 0.98)  # edges of the bins, finer for neighbouring slices and copies
ROUNDING = 1e-9
NO_ESTIMATE = Estimate(np.nan, Interval())
NO_NEGATIVE_CLASS = "evaluate.negative_class is null"
NO_VALUE = {
    "missed_tumours": "no test scan shows a tumour",
    "false_alarms": "no test scan is healthy",
    "upside_down_missed_tumours": "no tumour is called a tumour",
    "mcc": "all scans are of one class, or all are predicted as one class",
    "cohen_kappa": "all scans are of one class and predicted as that class",
    "precision": "{} is never predicted",
    "npv": "{} is always predicted",
    "specificity": "all test scans are of {}",
    "auroc": "no test scan of {}, or none of another class",
    "f1": "{} has no test scan and is never predicted",
}


def evaluate(
    predictions: ModelPredictions, validation: Predictions, labels: dict[str, np.ndarray], params: Evaluate
) -> tuple[ModelScores, Intervals]:
    """Score the fine-tuned model; UserError without a scan, or without a class called `params.negative_class`.

    Thresholds are chosen on `validation`; `labels`, by which the scores are divided in `by`, are `subsets.columns`.
    """
    negative = _negative(predictions, params.negative_class)
    bootstrap = GroupBootstrap(predictions.unit)
    distinct_counts, of_distinct = _per_distinct_scan(predictions)
    scores = [
        *_of_classes(predictions, negative),
        *_ranking(predictions, bootstrap),
        _upside_down(predictions, bootstrap, negative),
        *_of_probabilities(predictions, bootstrap),
        *of_distinct,
    ]
    return ModelScores(
        scans=len(predictions),
        **_values(scores, ModelScores),
        calibration=calibration.score(predictions, bootstrap, negative),
        per_distinct_scan=PerDistinctScan(**_values(scores, PerDistinctScan, suffix=PER_DISTINCT), **distinct_counts),
        classes=[_class_scores(predictions, index, scores) for index in range(len(predictions.class_names))],
        reliability=[_reliability_bin(predictions, index, bootstrap) for index in range(metrics.ECE_BINS)],
        similarity=_similarity_bins(predictions, bootstrap),
        exposure=subsets.by_exposure(predictions, bootstrap),
        by=subsets.by_columns(predictions, labels, bootstrap),
        name_blocks=subsets.name_blocks(predictions, scores[0]),
        tumour=None if negative is None else tumour.score(predictions, validation, negative, params, bootstrap),
        risk_coverage=_risk_coverage(predictions, bootstrap),
    ), Intervals(unit=unit(predictions), intervals=scores)


def score_baselines(predictions: BaselinePredictions, model: Predictions, negative_class: str | None) -> Baselines:
    """Score each baseline on the test scans of the `model`, with the errors of `evaluate`."""
    negative = _negative(predictions, negative_class)
    tables = (predictions.take(predictions.baseline == name) for name in dict.fromkeys(predictions.baseline.tolist()))
    return Baselines(baselines=[_score_baseline(table, model, negative) for table in tables])


def _score_baseline(table: BaselinePredictions, model: Predictions, negative: int | None) -> Baseline:
    scores = _of_classes(table, negative)
    ahead = difference([table], [model])
    correct, kinds = table.y_pred == table.y_true, ("copy", "patient", "neither")
    values: dict[str, Any] = {f"accuracy_{kind}": _mean(correct[table.exposure == kind]) for kind in kinds}
    values |= _values(scores, Baseline) | {key: getattr(scores[0], key) for key in Interval._fields}
    values |= Estimate(ahead.difference, ahead.interval).limits("difference")
    return Baseline(baseline=table.baseline[0].item(), difference_reason=ahead.interval.reason, **values)


def unit(predictions: Predictions) -> Unit:
    """Name and count the units of the test scans."""
    known = predictions.patient != ""
    name = "patient" if known.all() else "patient, or group of copies where none is known"
    return Unit(
        name=name if known.any() else "group of copies",
        count=len(np.unique(predictions.unit)),
        patients=len(np.unique(predictions.patient[known])),
        scans_without_patient=int((~known).sum()),
    )


def summarise(
    scores: ModelScores,
    intervals: Intervals,
    baselines: Baselines,
    training: Training,
    withheld: Withheld,
    patients: PatientScores,
) -> Summary:
    """Choose the numbers that a person compares first."""
    best = max(baselines.baselines, key=lambda each: each.accuracy)
    accuracy, per_patient = intervals.find("accuracy"), patients.find("accuracy")
    exposed = {each.exposure: each.scans for each in scores.exposure if each.class_name is None}
    return Summary(
        accuracy=scores.accuracy,
        low=accuracy.low,
        high=accuracy.high,
        per_patient=per_patient.value,
        macro_f1=scores.macro_f1,
        recall={each.class_name: each.recall for each in scores.classes},
        nll=scores.calibration.nll,
        val_loss=training.val_loss,
        best_epoch=training.best_epoch,
        baseline=best.accuracy,
        ahead=best.difference_low,
        copied=exposed.get("copy", 0),
        patient=exposed.get("patient", 0),
        **{key: getattr(row, key) for row in withheld.rows if row.by == "all" for key in ("answered", "wrong")},
    )


def distinct_weights(predictions: Predictions) -> np.ndarray:
    """Weigh each scan so that every group of copies has the weight 1: float64 [N].

    Groups whose scans are of several classes have the weight 0.
    """
    _, numbers, sizes = np.unique(predictions.group, return_inverse=True, return_counts=True)
    has_class = np.zeros((len(sizes), len(predictions.class_names)), bool)
    has_class[numbers, predictions.y_true] = True
    return np.where(has_class.sum(axis=1) == 1, 1 / sizes, 0)[numbers]


def _negative(predictions: Predictions, negative_class: str | None) -> int | None:
    """Return the index of the negative class; None where there is none."""
    if len(predictions) == 0:
        raise UserError("there is no test scan to score; give the data a test set, or change split.protocol")
    if negative_class is None:
        return None
    if negative_class not in predictions.class_names:
        raise UserError(
            f"evaluate.negative_class is {negative_class!r}, but the predictions know "
            f"{', '.join(predictions.class_names)}; run `dvc repro`"
        )
    return predictions.class_names.index(negative_class)


def _of_classes(predictions: Predictions, negative: int | None) -> list[Score]:
    """Score predicted classes: accuracy first, then the other overall scores, scores of tumours, scores per class."""
    confusions = ConfusionBootstrap([predictions])
    scores = [_score(name, None, confusions.estimate(metric)) for name, metric in OVERALL.items()]
    for name, metric in OF_TUMOURS.items():
        estimate = NO_ESTIMATE if negative is None else confusions.estimate(metric, negative)
        scores.append(_score(name, None, estimate, NO_NEGATIVE_CLASS if negative is None else None))
    return scores + [
        _score(name, *each)
        for name, metric in PER_CLASS.items()
        for each in zip(predictions.class_names, confusions.estimates(metric), strict=True)
    ]


def _ranking(predictions: ModelPredictions, bootstrap: GroupBootstrap) -> list[Score]:
    scores, of_class = [], predictions.y_true[:, None] == np.arange(len(predictions.class_names))
    for name, metric in RANKING.items():
        macro, *estimates = bootstrap.ranking(metric, of_class, predictions.probabilities)
        scores.append(_score(f"macro_{name}", None, macro))
        scores += [_score(name, *each) for each in zip(predictions.class_names, estimates, strict=True)]
    return scores


def _upside_down(predictions: ModelPredictions, bootstrap: GroupBootstrap, negative: int | None) -> Score:
    """Score the share of the found tumours that are missed once the scan is turned upside down."""
    name = "upside_down_missed_tumours"
    if negative is None:
        return _score(name, None, NO_ESTIMATE, NO_NEGATIVE_CLASS)
    found = (predictions.y_true != negative) & (predictions.y_pred != negative)
    return _score(name, None, bootstrap.share(predictions.upside_down == negative, found))


def _of_probabilities(predictions: ModelPredictions, bootstrap: GroupBootstrap) -> list[Score]:
    y_true, probabilities = predictions.y_true, predictions.probabilities
    ece = metrics.ece(probabilities.max(axis=1), predictions.y_pred == y_true)
    # Other scans have other gaps, and each is above 0 by chance: no interval around the value holds.
    no_interval = Interval(reason="no valid interval; see ece_if_calibrated")
    return [
        _score("nll", None, bootstrap.loss("nll", metrics.nll(y_true, probabilities), y_true)),
        _score("brier", None, bootstrap.loss("brier", metrics.brier(y_true, probabilities), y_true)),
        _score("ece", None, Estimate(ece, no_interval)),
    ]


def _per_distinct_scan(predictions: ModelPredictions) -> tuple[dict[str, int], list[Score]]:
    weights = distinct_weights(predictions)
    scans, left_out = (len(np.unique(predictions.group[which])) for which in (weights > 0, weights == 0))
    counts = {"scans": scans, "conflicting_groups_left_out": left_out}
    if not scans:
        reason = "every group of copies is in several classes"
        return counts, [_score(name + PER_DISTINCT, None, NO_ESTIMATE, reason) for name in OF_DISTINCT]
    confusions = ConfusionBootstrap([predictions], weights)
    return counts, [_score(name + PER_DISTINCT, None, confusions.estimate(OVERALL[name])) for name in OF_DISTINCT]


def _risk_coverage(predictions: ModelPredictions, bootstrap: GroupBootstrap) -> RiskCoverage:
    wrong, confidence = predictions.y_pred != predictions.y_true, predictions.probabilities.max(axis=1)
    area = bootstrap.estimate(metrics.risk_coverage_area, wrong, confidence)
    coverage, risk = (each[0] for each in metrics.risk_coverage(wrong, confidence, np.ones((1, len(wrong)))))
    rows = []
    for share in np.arange(1, 21) / 20:
        # The first threshold that answers as many, scans of equal confidence together.
        at = min(np.searchsorted(coverage, share - ROUNDING), len(coverage) - 1)
        rows.append(CoveragePoint(coverage=float(coverage[at]), risk=float(risk[at])))
    return RiskCoverage(**area.fields("area"), rows=rows)


def _class_scores(predictions: ModelPredictions, index: int, scores: Sequence[Score]) -> ClassScores:
    own, name = predictions.y_true == index, predictions.class_names[index]
    return ClassScores(
        class_name=name,
        **subsets.counts(predictions, own),
        predicted=int((predictions.y_pred == index).sum()),
        **_values(scores, ClassScores, name),
        predicted_as=np.bincount(predictions.y_pred[own], minlength=len(predictions.class_names)).tolist(),
    )


def _reliability_bin(predictions: ModelPredictions, index: int, bootstrap: GroupBootstrap) -> ReliabilityBin:
    correct = predictions.y_pred == predictions.y_true
    confidence = predictions.probabilities.max(axis=1)
    before = softmax(predictions.logits, axis=1).max(axis=1)
    inside, inside_before = (metrics.confidence_bins(each) == index for each in (confidence, before))
    return ReliabilityBin(
        lower=index / metrics.ECE_BINS,
        upper=(index + 1) / metrics.ECE_BINS,
        scans=int(inside.sum()),
        confidence=_mean(confidence[inside]),
        **bootstrap.share(correct, inside).fields("accuracy", LIMITS),
        scans_before=int(inside_before.sum()),
        confidence_before=_mean(before[inside_before]),
        accuracy_before=_mean(correct[inside_before]),
    )


def _similarity_bins(predictions: ModelPredictions, bootstrap: GroupBootstrap) -> list[SimilarityBin]:
    bins, correct = np.digitize(predictions.similarity, SIMILARITIES), predictions.y_pred == predictions.y_true
    return [
        SimilarityBin(
            lower=lower,
            upper=upper,
            **subsets.counts(predictions, bins == index),
            **bootstrap.share(correct, bins == index).fields("accuracy", LIMITS),
        )
        for index, (lower, upper) in enumerate(pairwise([-1.0, *SIMILARITIES, 1.0]))
    ]


def _score(name: str, class_name: str | None, estimate: Estimate, reason: str | None = None) -> Score:
    """Make a record; `reason` says why there is no value, where it is not the usual reason."""
    if np.isnan(estimate.value):
        usual = NO_VALUE.get(name, "it has no value in some class" if class_name is None else "{} has no test scan")
        estimate = Estimate(np.nan, Interval(reason=reason or usual.format(class_name)))
    return Score(score=name, class_name=class_name, **estimate.fields("value"))


def _values(
    scores: Iterable[Score], record: type[Record], class_name: str | None = None, suffix: str = ""
) -> dict[str, Any]:
    """Return the values of the scores of a class that a record has a field for, by the name of the field."""
    values = {each.score: each.value for each in scores if each.class_name == class_name}
    return {name: values[name + suffix] for name in record.model_fields if name + suffix in values}


def _mean(values: np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None
