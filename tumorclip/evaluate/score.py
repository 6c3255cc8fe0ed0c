"""What the predictions on the test scans are worth, and how sure that is.

Point values are scikit-learn's for every score that it has. Whatever is undefined is None, with a reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    cohen_kappa_score,
    confusion_matrix,
    matthews_corrcoef,
    precision_recall_fscore_support,
    roc_auc_score,
)

from tumorclip.evaluate import intervals
from tumorclip.evaluate.calibration import calibration, ece_if_calibrated
from tumorclip.evaluate.intervals import MIN_DISTINCT, GroupBootstrap, Interval

SEED = 0  # of draws: the same predictions always have the same scores
BLOCK_VALUES = 2**22  # resampled weights held at once
NO_INTERVAL = Interval(None, None, None)


@dataclass(frozen=True)
class Predictions:
    """What was predicted for N test scans among K classes.

    Attributes:
        actual: class indices, int [N].
        probabilities: after temperature, rows sum to 1, float64 [N, K].
        uncalibrated: before temperature, float64 [N, K].
        groups: the same for copies of each other, any type, [N].
        leaked: whether the scan has a copy in the published Training folder, bool [N].
    """

    actual: np.ndarray
    probabilities: np.ndarray
    uncalibrated: np.ndarray
    groups: np.ndarray
    leaked: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """The class of the highest probability, among equals the first: int [N]."""
        return self.probabilities.argmax(axis=1)


def score(actual: np.ndarray, predicted: np.ndarray, class_names: list[str], negative_class: str | None) -> dict:
    """Score predicted against actual classes. All shares lie in [0, 1].

    What is undefined is None, never 0:

    - recall (sensitivity, also called the accuracy of a class) of a class without test scans, specificity without
      scans of others;
    - precision (positive predictive value) of a class that is never predicted, the negative one (npv) of a class that
      always is;
    - F1 = 2 TP / (2 TP + FP + FN) of a class that is neither: one that has scans and is never predicted has F1 0;
    - a mean over the classes, as soon as one class has no value: the mean over the others is another quantity, and
      would reward a model for never predicting a hard class;
    - Matthews' coefficient if only one class is actual or only one predicted, Cohen's kappa if both are the same one;
    - missed tumours and false alarms without a negative class, or without a scan of the kind.

    Args:
        actual: int [N], class index of every test scan, N > 0.
        predicted: int [N], class index that was predicted for it.
        class_names: name of every class index.
        negative_class: the healthy class; None where there is none.

    Returns:
        Scalars: `scans` (N), `accuracy`, `balanced_accuracy` (mean recall), `macro_precision`, `macro_f1`, `mcc`
        (Matthews' correlation coefficient), `cohen_kappa`, `missed_tumours` (share of the other classes' scans that
        are called `negative_class`), `false_alarms` (share of the scans of `negative_class` that are called another
        class). One list, `classes`, in the order of `class_names`: `class`, `scans`, `predicted` (counts), `accuracy`,
        `precision`, `recall`, `f1`, `specificity`, `npv`, and `predicted_as`, the row of the confusion matrix.

    Raises:
        ValueError: there is no scan, or the arrays differ in length.
    """
    if len(actual) == 0:
        raise ValueError("there is no test scan to score")
    labels = np.arange(len(class_names))
    confusion = confusion_matrix(actual, predicted, labels=labels)
    precision, recall, f1, _ = precision_recall_fscore_support(actual, predicted, labels=labels, zero_division=np.nan)
    rest = confusion.sum() - confusion.sum(axis=0) - confusion.sum(axis=1) + np.diag(confusion)
    missed_tumours = false_alarms = None
    if negative_class is not None:
        healthy = labels == class_names.index(negative_class)
        missed_tumours = _share(confusion[~healthy][:, healthy], confusion[~healthy])
        false_alarms = _share(confusion[healthy][:, ~healthy], confusion[healthy])
    # scikit-learn gives 0 or a warning where these have no value.
    has_mcc = not np.isnan(intervals.matthews(confusion))
    has_kappa = not np.isnan(intervals.cohen_kappa(confusion))
    return {
        "scans": len(actual),
        "accuracy": float(accuracy_score(actual, predicted)),
        "balanced_accuracy": _defined(recall.mean()),
        "macro_precision": _defined(precision.mean()),
        "macro_f1": _defined(f1.mean()),
        "mcc": float(matthews_corrcoef(actual, predicted)) if has_mcc else None,
        "cohen_kappa": float(cohen_kappa_score(actual, predicted)) if has_kappa else None,
        "missed_tumours": missed_tumours,
        "false_alarms": false_alarms,
        "classes": [
            {
                "class": name,
                "scans": int(confusion[index].sum()),
                "predicted": int(confusion[:, index].sum()),
                "accuracy": _defined(recall[index]),
                "precision": _defined(precision[index]),
                "recall": _defined(recall[index]),
                "f1": _defined(f1[index]),
                "specificity": _share(rest[index], (actual != index)),
                "npv": _share(rest[index], (predicted != index)),
                "predicted_as": dict(zip(class_names, confusion[index].tolist(), strict=True)),
            }
            for index, name in enumerate(class_names)
        ],
    }


def ranking(actual: np.ndarray, probabilities: np.ndarray) -> list[dict[str, float | None]]:
    """Area under the ROC curve and average precision of each class against the rest, by its probability.

    None where the class has no scan, the area also where no other class has one.

    Args:
        actual: class indices, int [N].
        probabilities: float64 [N, K].
    """
    result = []
    for index, scores in enumerate(probabilities.T):
        own = actual == index
        result.append(
            {
                "auroc": float(roc_auc_score(own, scores)) if own.any() and not own.all() else None,
                "average_precision": float(average_precision_score(own, scores)) if own.any() else None,
            }
        )
    return result


def resample_ranking(own: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Area under the ROC curve, and average precision, under every row of `weights`: float64 [R] each.

    Scans of equal score count as one threshold. NaN where the weights leave no scan of a side that is needed.

    Args:
        own: whether a scan is of the class, bool [N].
        scores: [N].
        weights: how often each scan counts, [R, N].
    """
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
    positive = np.add.reduceat(weights[:, order] * own[order], starts, axis=1)
    negative = np.add.reduceat(weights[:, order] * ~own[order], starts, axis=1)
    above, below = positive.cumsum(axis=1), negative.cumsum(axis=1)
    positives, negatives = above[:, -1], below[:, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        area = (negative * (above - positive / 2)).sum(axis=1) / (positives * negatives)
        precision = np.where(above + below > 0, above / (above + below), 0)
        average = (positive * precision).sum(axis=1) / positives
    return area, average


def distinct(predictions: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """One vote for each group of copies, by the mean of their probabilities.

    Returns:
        Actual and predicted class indices, int [G], the groups [G], and the number of groups left out because their
        scans stand under several classes.
    """
    names, numbers = np.unique(predictions.groups, return_inverse=True)
    sums = np.zeros((len(names), predictions.probabilities.shape[1]))
    np.add.at(sums, numbers, predictions.probabilities)
    lowest, highest = np.full(len(names), len(sums[0])), np.full(len(names), -1)
    np.minimum.at(lowest, numbers, predictions.actual)
    np.maximum.at(highest, numbers, predictions.actual)
    agreed = lowest == highest
    return lowest[agreed], sums[agreed].argmax(axis=1), names[agreed], int((~agreed).sum())


def evaluate(
    predictions: Predictions,
    class_names: list[str],
    negative_class: str | None,
    trained_on_copies: bool,
    upside_down: np.ndarray,
) -> tuple[dict, list[dict]]:
    """Everything that the predictions say: the content of metrics/test.json, and of metrics/intervals.json.

    Args:
        predictions: of the test scans.
        class_names, negative_class: as for `score`.
        trained_on_copies: whether copies of test scans were trained on; then leaked scans are held against clean ones.
        upside_down: class indices predicted for the same scans turned upside down, int [N].

    Returns:
        The scores as `score` gives them, with `macro_auroc`, `macro_average_precision`, `upside_down_missed_tumours`
        (share of the tumours called a tumour as they are that are called `negative_class` when turned upside down),
        `calibration` (before and after temperature, and the error of calibration that chance alone would show),
        `per_distinct_scan` (one vote for each group of copies) and, if `trained_on_copies`, `leaked_against_clean`
        added. And one record for each score and class: `score`, `class`, `value`, `low`, `high`, `method`, `reason`.
    """
    actual, predicted = predictions.actual, predictions.predicted
    resamples = GroupBootstrap(predictions.groups)
    labels = np.arange(len(class_names))
    result = score(actual, predicted, class_names, negative_class)
    classes = result.pop("classes")
    ranks = ranking(actual, predictions.probabilities)
    for row, rank in zip(classes, ranks, strict=True):
        row |= rank
    for key in ("auroc", "average_precision"):
        values = [rank[key] for rank in ranks]
        result[f"macro_{key}"] = None if None in values else float(np.mean(values))

    records = _Records()
    confusions = resamples.confusions(actual, predicted, len(labels))
    areas, averages = zip(
        *(_resampled_ranking(resamples, actual == label, predictions.probabilities[:, label]) for label in labels),
        strict=True,
    )
    records.add("accuracy", None, result["accuracy"], resamples.proportion(predicted == actual))
    for key, resampled in (
        ("balanced_accuracy", intervals.balanced_accuracy(confusions)),
        ("macro_precision", intervals.macro_precision(confusions)),
        ("macro_f1", intervals.macro_f1(confusions)),
        ("mcc", intervals.matthews(confusions)),
        ("cohen_kappa", intervals.cohen_kappa(confusions)),
        ("macro_auroc", np.mean(areas, axis=0)),
        ("macro_average_precision", np.mean(averages, axis=0)),
    ):
        records.add(key, None, result[key], intervals.percentile_interval(resampled))

    upside = None
    if negative_class is None:
        for key in ("missed_tumours", "false_alarms", "upside_down_missed_tumours"):
            records.add(key, None, None, NO_INTERVAL, "evaluate.negative_class is null")
    else:
        healthy = class_names.index(negative_class)
        ill, called_ill = actual != healthy, predicted != healthy
        records.add("missed_tumours", None, result["missed_tumours"], resamples.proportion(~called_ill, ill))
        records.add("false_alarms", None, result["false_alarms"], resamples.proportion(called_ill, ~ill))
        turned = upside_down == healthy
        upside = _share(turned & ill & called_ill, ill & called_ill)
        records.add("upside_down_missed_tumours", None, upside, resamples.proportion(turned, ill & called_ill))
    result["upside_down_missed_tumours"] = upside

    result["calibration"] = {
        "before_temperature": calibration(actual, predictions.uncalibrated),
        "after_temperature": calibration(actual, predictions.probabilities),
        "ece_if_calibrated": ece_if_calibrated(predictions.probabilities, predictions.groups, SEED),
    }
    own = predictions.probabilities[np.arange(len(actual)), actual]
    distances = ((predictions.probabilities - np.eye(len(labels))[actual]) ** 2).sum(axis=1)
    after = result["calibration"]["after_temperature"]
    for key, each in (("nll", -np.log(np.maximum(own, np.finfo(float).eps))), ("brier", distances)):
        records.add(key, None, after[key], intervals.percentile_interval(resamples.mean(each)))
    # A resample repeats groups, so its error of calibration is always larger than that of new scans.
    records.add("ece", None, after["ece"], Interval(None, None, None, "no valid interval; see ece_if_calibrated"))

    for index, (name, row) in enumerate(zip(class_names, classes, strict=True)):
        is_own, called = actual == index, predicted == index
        for key, hits, among in (
            ("recall", called, is_own),
            ("specificity", ~called, ~is_own),
            ("precision", is_own, called),
            ("npv", ~is_own, ~called),
        ):
            records.add(key, name, row[key], resamples.proportion(hits, among))
        for key, resampled in (
            ("f1", intervals.f1(confusions)[:, index]),
            ("auroc", areas[index]),
            ("average_precision", averages[index]),
        ):
            records.add(key, name, row[key], intervals.percentile_interval(resampled))

    result["per_distinct_scan"] = _per_distinct_scan(predictions, class_names, records)
    if trained_on_copies:
        result["leaked_against_clean"] = _leaked_against_clean(predictions, class_names, resamples, records)
    return result | {"classes": classes}, records.rows


def _per_distinct_scan(predictions: Predictions, class_names: list[str], records: "_Records") -> dict:
    actual, predicted, groups, left_out = distinct(predictions)
    if not len(actual):
        return {"scans": 0, "conflicting_groups_left_out": left_out}
    scores = score(actual, predicted, class_names, None)
    resamples = GroupBootstrap(groups)
    confusions = resamples.confusions(actual, predicted, len(class_names))
    kept = {key: scores[key] for key in ("scans", "accuracy", "balanced_accuracy", "macro_f1")}
    records.add("accuracy_per_distinct_scan", None, kept["accuracy"], resamples.proportion(predicted == actual))
    for key, resampled in (
        ("balanced_accuracy", intervals.balanced_accuracy(confusions)),
        ("macro_f1", intervals.macro_f1(confusions)),
    ):
        records.add(f"{key}_per_distinct_scan", None, kept[key], intervals.percentile_interval(resampled))
    return kept | {"conflicting_groups_left_out": left_out}


def _leaked_against_clean(
    predictions: Predictions, class_names: list[str], resamples: GroupBootstrap, records: "_Records"
) -> dict:
    """Accuracy on leaked and on clean scans, within each class that has 30 distinct scans or more of both kinds."""
    actual, leaked = predictions.actual, predictions.leaked
    correct = predictions.predicted == actual
    result, compared = {}, []
    for index, name in enumerate(class_names):
        row = {}
        for kind, chosen in (("leaked", leaked), ("clean", ~leaked)):
            chosen = chosen & (actual == index)
            row |= {f"{kind}_scans": int(chosen.sum()), f"{kind}_distinct": len(np.unique(predictions.groups[chosen]))}
        enough = min(row["leaked_distinct"], row["clean_distinct"]) >= MIN_DISTINCT
        for kind, chosen in (("leaked", leaked), ("clean", ~leaked)):
            chosen = chosen & (actual == index)
            value = _share(correct & chosen, chosen) if enough else None
            too_few = f"fewer than {MIN_DISTINCT} distinct scans, leaked or clean"
            records.add(f"{kind}_accuracy", name, value, resamples.proportion(correct, chosen), too_few)
            row[f"{kind}_accuracy"] = value
        result[name] = row
        if enough:
            compared.append(row)
    means = {
        f"{kind}_accuracy": float(np.mean([row[f"{kind}_accuracy"] for row in compared])) if compared else None
        for kind in ("leaked", "clean")
    }
    names = [name for name, row in result.items() if row["leaked_accuracy"] is not None]
    return result | {"mean_over_classes": {"classes": ", ".join(names) or "none", **means}}


def _resampled_ranking(resamples: GroupBootstrap, own: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    step = max(1, BLOCK_VALUES // len(own))
    blocks = [resamples.counts[start : start + step] for start in range(0, len(resamples.counts), step)]
    parts = [resample_ranking(own, scores, block[:, resamples.numbers]) for block in blocks]
    areas, averages = zip(*parts, strict=True)
    return np.concatenate(areas), np.concatenate(averages)


class _Records:
    """The rows of metrics/intervals.json."""

    def __init__(self):
        self.rows: list[dict] = []

    def add(
        self, name: str, class_name: str | None, value: float | None, interval: Interval, reason: str | None = None
    ) -> None:
        """Add a score; `reason` says why it has no value, where that is not for its classes and scans."""
        if interval.method == "bootstrap" and interval.low == interval.high:
            interval = Interval(
                None, None, None, "every resample gives the same value, which tells nothing about others"
            )
        row = {"score": name, "class": class_name, "value": value} | interval._asdict()
        if value is None:
            row |= {"low": None, "high": None, "method": None, "reason": reason or _reason(name, class_name)}
        self.rows.append(row)


def _reason(name: str, class_name: str | None) -> str:
    """Why a score has no value; `class_name` is None for scores of all classes together."""
    if class_name is None:
        return {
            "missed_tumours": "no test scan shows a tumour",
            "false_alarms": "no test scan is healthy",
            "upside_down_missed_tumours": "no tumour is called a tumour",
            "mcc": "all scans are of one class, or all are predicted as one",
            "cohen_kappa": "all scans are of one class and predicted as that",
        }.get(name, "it has no value in some class")
    return {
        "precision": f"{class_name} is never predicted",
        "npv": f"{class_name} is always predicted",
        "specificity": f"all test scans are of {class_name}",
        "auroc": f"no test scan of {class_name}, or of nothing else",
        "f1": f"{class_name} has no test scan and is never predicted",
    }.get(name, f"{class_name} has no test scan")


def _share(part: np.ndarray, whole: np.ndarray | Sequence) -> float | None:
    return float(np.sum(part) / np.sum(whole)) if np.sum(whole) else None


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
