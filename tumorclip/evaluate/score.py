"""What predictions on test scans are worth: the content of metrics/test.json, intervals.json and baselines.json.

Every score is one record with its value, its 95 % interval and, where one of them is missing, the reason. The other
files look their numbers up in these records.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
from scipy.special import softmax

from tumorclip.errors import UserError
from tumorclip.evaluate import metrics
from tumorclip.evaluate.calibration import ece_if_calibrated
from tumorclip.evaluate.intervals import MIN_DISTINCT, ConfusionBootstrap, Estimate, GroupBootstrap, Interval
from tumorclip.tables import BaselinePredictions, ModelPredictions, Predictions

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


def evaluate(predictions: ModelPredictions, negative_class: str | None) -> tuple[dict, list[dict]]:
    """Score the fine-tuned model.

    Args:
        predictions: of N > 0 test scans.
        negative_class: the healthy class; None where there is none.

    Returns:
        The content of metrics/test.json, and the records of metrics/intervals.json: `score`, `class` (None for all
        classes together), `value`, `low`, `high`, `method` and `reason`.

    Raises:
        UserError: there is no scan, or no class called `negative_class`.
    """
    healthy = _healthy(predictions, negative_class)
    bootstrap = GroupBootstrap(predictions.group)
    distinct_counts, of_distinct = _per_distinct_scan(predictions)
    calibration, of_probabilities = _calibration(predictions, bootstrap)
    leaked_rows, of_leaked = _leaked_against_clean(predictions, bootstrap)
    records = [
        *_of_classes(predictions, healthy),
        *_ranking(predictions, bootstrap),
        _upside_down(predictions, bootstrap, healthy),
        *of_probabilities,
        *of_distinct,
        *of_leaked,
    ]
    values = {(record["score"], record["class"]): record["value"] for record in records}
    return {
        "scans": len(predictions),
        **{name: values[name, None] for name in SCALARS},
        "calibration": {name: values[name, None] for name in ("nll", "brier", "ece")} | calibration,
        "per_distinct_scan": {name: values[name + PER_DISTINCT, None] for name in OF_DISTINCT} | distinct_counts,
        "classes": _class_rows(predictions, values),
        "reliability": _reliability_rows(predictions, bootstrap),
        "similarity": _similarity_rows(predictions, bootstrap),
        "leaked_against_clean": leaked_rows,
    }, records


def score_baselines(predictions: BaselinePredictions, negative_class: str | None) -> list[dict]:
    """Score each baseline, with the errors of `evaluate`: the rows of metrics/baselines.json."""
    healthy = _healthy(predictions, negative_class)
    rows = []
    for name in dict.fromkeys(predictions.baseline.tolist()):
        accuracy, *others = _of_classes(predictions.take(predictions.baseline == name), healthy)
        values = {record["score"]: record["value"] for record in others}
        row = {"baseline": name, "accuracy": accuracy["value"]}
        row |= {key: accuracy[key] for key in ("low", "high", "method", "reason")}
        rows.append(row | {key: values[key] for key in OF_BASELINES})
    return rows


def summarise(test: dict, records: Sequence[dict], baselines: Sequence[dict], exposed: int, best_epoch: int) -> dict:
    """What a person compares first: the content of metrics/summary.json.

    Shares have four decimals, so that `dvc metrics show` fits on a terminal; the other files have them all.

    Args:
        test, records, baselines: as `evaluate` and `score_baselines` return them.
        exposed: number of test scans of which a copy was trained on or validated on.
        best_epoch: the epoch whose weights were kept.
    """
    shares = {
        "accuracy": test["accuracy"],
        **{key: records[0][key] for key in ("low", "high")},
        "macro_f1": test["macro_f1"],
        "best_baseline": max(row["accuracy"] for row in baselines),
    }
    rounded = {name: None if value is None else round(value, 4) for name, value in shares.items()}
    return rounded | {"leaked": exposed, "best_epoch": best_epoch}


def distinct(predictions: Predictions) -> Predictions:
    """One row for each group of copies, with their mean probabilities; else it is that of the first of them.

    Groups whose scans stand under several classes are left out.
    """
    _, first, numbers, sizes = np.unique(predictions.group, return_index=True, return_inverse=True, return_counts=True)
    sums = np.zeros((len(first), len(predictions.class_names)))
    np.add.at(sums, numbers, predictions.probabilities)
    stands_under = np.zeros(sums.shape, bool)
    stands_under[numbers, predictions.y_true] = True
    means = sums / sizes[:, None]
    voted = replace(predictions.take(first), y_pred=sums.argmax(axis=1), probabilities=means)
    return voted.take(stands_under.sum(axis=1) == 1)


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
        mean, *estimates = bootstrap.weighted(of_classes)
        records.append(_record(f"macro_{name}", None, mean))
        records += [_record(name, *each) for each in zip(predictions.class_names, estimates, strict=True)]
    return records


def _upside_down(predictions: ModelPredictions, bootstrap: GroupBootstrap, healthy: int | None) -> dict:
    """Share of the tumours called a tumour that are called healthy once they are turned upside down."""
    name = "upside_down_missed_tumours"
    if healthy is None:
        return _record(name, None, NO_ESTIMATE, NO_NEGATIVE_CLASS)
    found = (predictions.y_true != healthy) & (predictions.y_pred != healthy)
    return _record(name, None, bootstrap.share(predictions.upside_down == healthy, found))


def _calibration(predictions: ModelPredictions, bootstrap: GroupBootstrap) -> tuple[dict[str, float], list[dict]]:
    """What calibration is before temperature and if it were perfect; and records of it after temperature."""
    y_true, probabilities = predictions.y_true, predictions.probabilities
    before = softmax(predictions.logits, axis=1)
    confidence, correct = probabilities.max(axis=1), predictions.y_pred == y_true
    compared_with = {
        "nll_before": float(metrics.nll(y_true, before).mean()),
        "brier_before": float(metrics.brier(y_true, before).mean()),
        "ece_before": metrics.ece(before.max(axis=1), correct),
        "ece_if_calibrated": ece_if_calibrated(confidence, predictions.group),
    }
    # A resample repeats groups, so its calibration error is always larger than that of new scans.
    no_interval = Interval(reason="no valid interval; see ece_if_calibrated")
    return compared_with, [
        _record("nll", None, bootstrap.mean(metrics.nll(y_true, probabilities))),
        _record("brier", None, bootstrap.mean(metrics.brier(y_true, probabilities))),
        _record("ece", None, Estimate(metrics.ece(confidence, correct), no_interval)),
    ]


def _per_distinct_scan(predictions: ModelPredictions) -> tuple[dict[str, int], list[dict]]:
    voted = distinct(predictions)
    left_out = len(np.unique(predictions.group)) - len(voted)
    counts = {"scans": len(voted), "conflicting_groups_left_out": left_out}
    if not len(voted):
        reason = "every group of copies stands under several classes"
        return counts, [_record(name + PER_DISTINCT, None, NO_ESTIMATE, reason) for name in OF_DISTINCT]
    confusions = ConfusionBootstrap([voted])
    return counts, [_record(name + PER_DISTINCT, None, confusions.estimate(OVERALL[name])) for name in OF_DISTINCT]


def _leaked_against_clean(predictions: ModelPredictions, bootstrap: GroupBootstrap) -> tuple[list[dict], list[dict]]:
    """Accuracy on leaked and on clean scans, within each class that has 30 distinct scans or more of both kinds.

    The last row is the mean over these classes. Both lists are empty where no test scan is exposed.
    """
    if not np.any(predictions.exposure == "copy"):
        return [], []
    correct = predictions.y_pred == predictions.y_true
    rows, records = [], []
    for index, name in enumerate(predictions.class_names):
        own = predictions.y_true == index
        sides = {"leaked": own & (predictions.leaked == "copy"), "clean": own & (predictions.leaked != "copy")}
        counts = {side: _counts(predictions, chosen) for side, chosen in sides.items()}
        enough = min(each["distinct"] for each in counts.values()) >= MIN_DISTINCT
        row = {"class": name}
        for side, chosen in sides.items():
            estimate = bootstrap.share(correct, chosen) if enough else NO_ESTIMATE
            too_few = f"fewer than {MIN_DISTINCT} distinct scans, leaked or clean"
            record = _record(f"{side}_accuracy", name, estimate, too_few)
            accuracy = {"accuracy": record["value"], "low": record["low"], "high": record["high"]}
            row |= {f"{side}_{key}": value for key, value in (counts[side] | accuracy).items()}
            records.append(record)
        rows.append(row)
    comparable = [row for row in rows if row["leaked_accuracy"] is not None]
    mean = {"class": None}
    for side in ("leaked", "clean"):
        for count in (f"{side}_scans", f"{side}_distinct"):
            mean[count] = sum(row[count] for row in comparable)
        mean[f"{side}_accuracy"] = _mean([row[f"{side}_accuracy"] for row in comparable])
        mean |= {f"{side}_low": None, f"{side}_high": None}
    return [*rows, mean], records


def _class_rows(predictions: ModelPredictions, values: dict) -> list[dict]:
    rows = []
    for index, name in enumerate(predictions.class_names):
        own = predictions.y_true == index
        row = {"class": name} | _counts(predictions, own)
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
        row |= {"confidence": _mean(confidence[inside])} | _accuracy(correct, inside, bootstrap)
        row["scans_before"] = int(inside_before.sum())
        row["confidence_before"] = _mean(before[inside_before])
        row["accuracy_before"] = _mean(correct[inside_before])
        rows.append(row)
    return rows


def _similarity_rows(predictions: ModelPredictions, bootstrap: GroupBootstrap) -> list[dict]:
    correct = predictions.y_pred == predictions.y_true
    bins = np.digitize(predictions.similarity, SIMILARITIES)
    rows = []
    for index, (low, high) in enumerate(pairwise([-1.0, *SIMILARITIES, 1.0])):
        inside = bins == index
        rows.append({"from": low, "to": high} | _counts(predictions, inside) | _accuracy(correct, inside, bootstrap))
    return rows


def _counts(predictions: ModelPredictions, among: np.ndarray) -> dict[str, int]:
    return {"scans": int(among.sum()), "distinct": len(np.unique(predictions.group[among]))}


def _accuracy(correct: np.ndarray, among: np.ndarray, bootstrap: GroupBootstrap) -> dict[str, float | None]:
    interval = bootstrap.share(correct, among).interval
    return {"accuracy": _mean(correct[among]), "low": interval.low, "high": interval.high}


def _record(score: str, class_name: str | None, estimate: Estimate, reason: str | None = None) -> dict:
    """One record; `reason` says why there is no value, where that is not for the usual reason."""
    value, interval = estimate
    if np.isnan(value):
        value = None
        usual = NO_VALUE.get(score, "it has no value in some class" if class_name is None else "{} has no test scan")
        interval = Interval(reason=reason or usual.format(class_name))
    elif interval.method == "bootstrap" and interval.low == interval.high:
        interval = Interval(reason="every resample gives the same value, which tells nothing about others")
    return {"score": score, "class": class_name, "value": value, **interval._asdict()}


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
