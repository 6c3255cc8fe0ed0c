"""What predictions on test scans are worth: the content of metrics/test.json, intervals.json and baselines.json.

Every score is one record with its value, its 95 % interval and, where one of them is missing, the reason. The other
files look their numbers up in these records.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np
from scipy.special import softmax

from trueslice.errors import UserError
from trueslice.evaluate import calibration, metrics, subsets, tumour
from trueslice.evaluate.compare import difference
from trueslice.evaluate.intervals import LOSS, ConfusionBootstrap, Estimate, GroupBootstrap, Interval
from trueslice.params import Evaluate
from trueslice.tables.predictions import BaselinePredictions, ModelPredictions, Predictions

OVERALL = {
    "accuracy": metrics.accuracy,
    "balanced_accuracy": metrics.balanced_accuracy,
    "macro_precision": metrics.macro_precision,
    "macro_f1": metrics.macro_f1,
    "mcc": metrics.mcc,
    "cohen_kappa": metrics.cohen_kappa,
}
OF_TUMOURS = {"missed_tumours": metrics.missed_tumours, "false_alarms": metrics.false_alarms}
PER_CLASS = {
    "recall": metrics.recall,
    "precision": metrics.precision,
    "f1": metrics.f1,
    "specificity": metrics.specificity,
    "npv": metrics.npv,
}
RANKING = {"auroc": metrics.auroc, "average_precision": metrics.average_precision}
SCALARS = (*OVERALL, *(f"macro_{name}" for name in RANKING), *OF_TUMOURS, "upside_down_missed_tumours")
PER_DISTINCT = "_per_distinct_scan"
OF_DISTINCT = ("accuracy", "balanced_accuracy", "macro_f1")
OF_BASELINES = ("balanced_accuracy", "macro_f1", "missed_tumours", "false_alarms")
SIMILARITIES = (0.7, 0.8, 0.9, 0.95, 0.98)  # edges of the bins, finer where neighbouring slices and copies lie
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
) -> tuple[dict, list[dict]]:
    """Score the fine-tuned model.

    Args:
        predictions: of N > 0 test scans.
        validation: of the validation scans, on which thresholds are chosen.
        labels: by which the test scans are told apart in `by`, as `subsets.columns` gives them.

    Returns:
        The content of metrics/test.json, and the records of metrics/intervals.json: `score`, `class` (None for all
        classes together), `value`, and the fields of `Interval`.

    Raises:
        UserError: there is no scan, or no class called `params.negative_class`.
    """
    healthy = _healthy(predictions, params.negative_class)
    bootstrap = GroupBootstrap(predictions.unit)
    distinct_counts, of_distinct = _per_distinct_scan(predictions)
    of_classes = _of_classes(predictions, healthy)
    records = [
        *of_classes,
        *_ranking(predictions, bootstrap),
        _upside_down(predictions, bootstrap, healthy),
        *_of_probabilities(predictions, bootstrap),
        *of_distinct,
    ]
    values = {(record["score"], record["class"]): record["value"] for record in records}
    everywhere = np.ones(len(predictions), bool)
    by_units = bootstrap.share(predictions.y_pred == predictions.y_true, everywhere)
    return {
        "scans": len(predictions),
        **{name: values[name, None] for name in SCALARS},
        "calibration": {name: values[name, None] for name in ("nll", "brier", "ece")}
        | calibration.compared(predictions, bootstrap, healthy),
        "per_distinct_scan": {name: values[name + PER_DISTINCT, None] for name in OF_DISTINCT} | distinct_counts,
        "classes": _class_rows(predictions, values),
        "reliability": _reliability_rows(predictions, bootstrap),
        "similarity": _similarity_rows(predictions, bootstrap),
        "exposure": subsets.by_exposure(predictions, bootstrap),
        "by": subsets.by_columns(predictions, labels, bootstrap),
        "name_runs": subsets.name_runs(predictions, by_units),
        "tumour": None if healthy is None else tumour.score(predictions, validation, healthy, params, bootstrap),
        "risk_coverage": _risk_coverage(predictions, bootstrap),
    }, records


def score_baselines(predictions: BaselinePredictions, model: Predictions, negative_class: str | None) -> list[dict]:
    """Score each baseline, with the errors of `evaluate`: the rows of metrics/baselines.json.

    `difference` is the accuracy of the `model` on the same scans minus that of the baseline. `accuracy_copy` and its
    like are accuracies on the scans of that exposure: what remembers scans is right where it has seen them.
    """
    healthy = _healthy(predictions, negative_class)
    rows = []
    for name in dict.fromkeys(predictions.baseline.tolist()):
        own = predictions.take(predictions.baseline == name)
        accuracy, *others = _of_classes(own, healthy)
        values = {record["score"]: record["value"] for record in others}
        row = {"baseline": name, "accuracy": accuracy["value"]}
        row |= {key: accuracy[key] for key in Interval._fields}
        found = difference([own], [model])
        row |= {"difference": found.difference}
        row |= {f"difference_{key}": getattr(found.interval, key) for key in ("low", "high", "reason")}
        correct = own.y_pred == own.y_true
        row |= {f"accuracy_{kind}": _mean(correct[own.exposure == kind]) for kind in ("copy", "patient", "neither")}
        rows.append(row | {key: values[key] for key in OF_BASELINES})
    return rows


def units(predictions: Predictions) -> dict[str, str | int]:
    """What is drawn and counted as independent in every interval: `unit` in metrics/intervals.json."""
    known = predictions.patient != ""
    name = "patient" if known.all() else "patient, or group of copies where none is known"
    return {
        "name": name if known.any() else "group of copies",
        "count": len(np.unique(predictions.unit)),
        "patients": len(np.unique(predictions.patient[known])),
        "scans_without_patient": int((~known).sum()),
    }


def summarise(test: dict, records: Sequence[dict], baselines: Sequence[dict]) -> dict:
    """What a person compares first: the content of metrics/summary.json.

    Shares have four decimals, and keys are short, so that `dvc metrics show` fits on a terminal: `ahead` is the
    lower limit of how much better the model is than the best baseline, `copy` and `patient` are the test scans of
    which, or of whose patient alone, something was trained or validated on.

    Args:
        test, records, baselines: as `evaluate` and `score_baselines` return them.
    """
    best = max(baselines, key=lambda row: row["accuracy"])
    shares = {
        "accuracy": test["accuracy"],
        **{key: records[0][key] for key in ("low", "high")},
        "macro_f1": test["macro_f1"],
        "baseline": best["accuracy"],
        "ahead": best["difference_low"],
    }
    exposed = {row["exposure"]: row["scans"] for row in test["exposure"] if row["class"] is None}
    seen = {kind: exposed.get(kind, 0) for kind in ("copy", "patient")}
    return {name: None if value is None else round(value, 4) for name, value in shares.items()} | seen


def distinct_weights(predictions: Predictions) -> np.ndarray:
    """How much each scan counts if every group of copies has the weight 1: float64 [N].

    Groups whose scans stand under several classes have none.
    """
    _, numbers, sizes = np.unique(predictions.group, return_inverse=True, return_counts=True)
    stands_under = np.zeros((len(sizes), len(predictions.class_names)), bool)
    stands_under[numbers, predictions.y_true] = True
    return np.where(stands_under.sum(axis=1) == 1, 1 / sizes, 0)[numbers]


def _healthy(predictions: Predictions, negative_class: str | None) -> int | None:
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


def _of_classes(predictions: Predictions, healthy: int | None) -> list[dict]:
    """Score predicted classes: accuracy first, then the other overall scores, those of tumours, and those per class."""
    confusions = ConfusionBootstrap([predictions])
    records = [_record(name, None, confusions.estimate(score)) for name, score in OVERALL.items()]
    if healthy is None:
        records += [_record(name, None, NO_ESTIMATE, NO_NEGATIVE_CLASS) for name in OF_TUMOURS]
    else:
        records += [_record(name, None, confusions.estimate(score, healthy)) for name, score in OF_TUMOURS.items()]
    for name, score in PER_CLASS.items():
        estimates = zip(predictions.class_names, confusions.estimates(score), strict=True)
        records += [_record(name, *each) for each in estimates]
    return records


def _ranking(predictions: ModelPredictions, bootstrap: GroupBootstrap) -> list[dict]:
    records = []
    for name, score in RANKING.items():
        columns = enumerate(predictions.probabilities.T)
        of_classes = [partial(score, predictions.y_true == index, probability) for index, probability in columns]
        macro, *estimates = bootstrap.means(of_classes)
        records.append(_record(f"macro_{name}", None, macro))
        records += [_record(name, *each) for each in zip(predictions.class_names, estimates, strict=True)]
    return records


def _upside_down(predictions: ModelPredictions, bootstrap: GroupBootstrap, healthy: int | None) -> dict:
    """Share of the tumours called a tumour that are called healthy once they are turned upside down."""
    name = "upside_down_missed_tumours"
    if healthy is None:
        return _record(name, None, NO_ESTIMATE, NO_NEGATIVE_CLASS)
    found = (predictions.y_true != healthy) & (predictions.y_pred != healthy)
    return _record(name, None, bootstrap.share(predictions.upside_down == healthy, found))


def _of_probabilities(predictions: ModelPredictions, bootstrap: GroupBootstrap) -> list[dict]:
    y_true, probabilities = predictions.y_true, predictions.probabilities
    ece = metrics.ece(probabilities.max(axis=1), predictions.y_pred == y_true)
    # Other scans have other gaps, and each is above 0 by chance: no interval around the value holds.
    no_interval = Interval(reason="no valid interval; see ece_if_calibrated")
    return [
        _record("nll", None, bootstrap.mean(metrics.nll(y_true, probabilities), LOSS)),
        _record("brier", None, bootstrap.mean(metrics.brier(y_true, probabilities), LOSS)),
        _record("ece", None, Estimate(ece, no_interval)),
    ]


def _per_distinct_scan(predictions: ModelPredictions) -> tuple[dict[str, int], list[dict]]:
    weights = distinct_weights(predictions)
    scans, left_out = (len(np.unique(predictions.group[which])) for which in (weights > 0, weights == 0))
    numbers = {"scans": scans, "conflicting_groups_left_out": left_out}
    if not scans:
        reason = "every group of copies stands under several classes"
        return numbers, [_record(name + PER_DISTINCT, None, NO_ESTIMATE, reason) for name in OF_DISTINCT]
    confusions = ConfusionBootstrap([predictions], weights)
    return numbers, [_record(name + PER_DISTINCT, None, confusions.estimate(OVERALL[name])) for name in OF_DISTINCT]


def _risk_coverage(predictions: ModelPredictions, bootstrap: GroupBootstrap) -> dict:
    """Errors among the scans that a model is surest of, for several shares of the scans, and their mean."""
    wrong, confidence = predictions.y_pred != predictions.y_true, predictions.probabilities.max(axis=1)
    area, interval = bootstrap.estimate(partial(metrics.risk_coverage_area, wrong, confidence), LOSS)
    coverage, risk = (each[0] for each in metrics.risk_coverage(wrong, confidence, np.ones((1, len(wrong)))))
    rows = []
    for share in np.arange(1, 21) / 20:
        # The first threshold that answers as many, scans of equal confidence together.
        at = min(np.searchsorted(coverage, share - ROUNDING), len(coverage) - 1)
        rows.append({"coverage": float(coverage[at]), "risk": float(risk[at])})
    return {"area": area, **interval._asdict(), "rows": rows}


def _class_rows(predictions: ModelPredictions, values: dict) -> list[dict]:
    rows = []
    for index, name in enumerate(predictions.class_names):
        own = predictions.y_true == index
        row = {"class": name} | subsets.counts(predictions, own)
        row["predicted"] = int((predictions.y_pred == index).sum())
        row |= {score: values[score, name] for score in (*PER_CLASS, *RANKING)}
        row["predicted_as"] = np.bincount(predictions.y_pred[own], minlength=len(predictions.class_names)).tolist()
        rows.append(row)
    return rows


def _reliability_rows(predictions: ModelPredictions, bootstrap: GroupBootstrap) -> list[dict]:
    correct = predictions.y_pred == predictions.y_true
    confidence = predictions.probabilities.max(axis=1)
    before = softmax(predictions.logits, axis=1).max(axis=1)
    rows = []
    for index in range(metrics.ECE_BINS):
        inside, inside_before = (metrics.confidence_bins(each) == index for each in (confidence, before))
        row = {"from": index / metrics.ECE_BINS, "to": (index + 1) / metrics.ECE_BINS, "scans": int(inside.sum())}
        row |= {"confidence": _mean(confidence[inside])} | _interval(predictions, inside, bootstrap)
        row["scans_before"] = int(inside_before.sum())
        row["confidence_before"] = _mean(before[inside_before])
        row["accuracy_before"] = _mean(correct[inside_before])
        rows.append(row)
    return rows


def _similarity_rows(predictions: ModelPredictions, bootstrap: GroupBootstrap) -> list[dict]:
    bins = np.digitize(predictions.similarity, SIMILARITIES)
    rows = []
    for index, (low, high) in enumerate(pairwise([-1.0, *SIMILARITIES, 1.0])):
        inside = bins == index
        counts = subsets.counts(predictions, inside)
        rows.append({"from": low, "to": high} | counts | _interval(predictions, inside, bootstrap))
    return rows


def _interval(predictions: ModelPredictions, among: np.ndarray, bootstrap: GroupBootstrap) -> dict[str, float | None]:
    found = subsets.accuracy(predictions, among, bootstrap)
    return {key: found[key] for key in ("accuracy", "low", "high")}


def _record(score: str, class_name: str | None, estimate: Estimate, reason: str | None = None) -> dict:
    """One record; `reason` says why there is no value, where that is not for the usual reason."""
    value, interval = estimate
    if np.isnan(value):
        value = None
        usual = NO_VALUE.get(score, "it has no value in some class" if class_name is None else "{} has no test scan")
        interval = Interval(reason=reason or usual.format(class_name))
    return {"score": score, "class": class_name, "value": value, **interval._asdict()}


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
