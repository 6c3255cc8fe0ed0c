"""Coverage of the 95 % intervals, and false alarms of tests of equal models.

python -m research.simulations.coverage

It writes results/coverage.json and takes some minutes on one core. Group sizes are those of the official test set of
 brain-tumor-mri-dataset, version 1, by copies or by patients, and of a test set of new patients.

For accuracy, every scan of a group takes the group's outcome with the probability `sharing` and one of its own
otherwise. For other shares and calibration every scan has a logit for each class: normal numbers, of which the group
gives the part `SHARED` of the variance, and `level` more for the true class.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.special import softmax

from research.markdown import percent, table
from trueslice.evaluate import metrics, tumour
from trueslice.evaluate.calibration import recalibration
from trueslice.evaluate.compare import mcnemar_test, one_per_unit, sign_flip_test
from trueslice.evaluate.intervals import (
    ConfusionBootstrap,
    Estimate,
    GroupBootstrap,
    Interval,
    percentile_interval,
    resample_counts,
    share_interval,
)
from trueslice.files import write_json
from trueslice.tables.predictions import Predictions

RESULTS = Path(__file__).parent / "results/coverage.json"

REPEATS = 2000
RESAMPLES = 2000
LEVEL = 0.05
# How many groups have how many of the 1,311 test files: copies correlate over 0.98, also mirrored or turned.
OFFICIAL = {1: 854, 2: 76, 3: 16, 4: 17, 5: 7, 6: 4, 7: 4, 8: 1, 9: 3, 13: 1, 14: 2, 26: 1}
HEALTHY = {1: 65, 2: 22, 3: 13, 4: 17, 5: 7, 6: 4, 7: 4, 8: 1, 9: 3, 13: 1, 14: 2, 26: 1}  # its class notumor alone
HEAVY = dict.fromkeys(range(1, 51), 1)  # 50 groups of 1 to 50 files
SHARED = 0.8
SHARPNESS = 1.5  # by which the logits of the scores are multiplied
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
NOTUMOR = CLASSES.index("notumor")
POPULATION = 200  # times the test set, from which true values are taken
MOST_UNITS = 500  # with more, only shares by predicted class: the others would take too long
SENSITIVITY = 0.95  # on validation, for which the threshold of a tumour is chosen
PREVALENCE = 0.01
CASES = [("copies", 2.4), ("copies", 3.0), ("patients", 3.0), *(("new patients", level) for level in (1.8, 2.4, 3.0))]
OF_COUNTS = {"accuracy": metrics.accuracy}
OF_COUNTS |= {f"{name}, glioma": getattr(metrics, name) for name in ("recall", "precision")}
OF_TUMOURS = {name: getattr(metrics, name) for name in ("missed_tumours", "false_alarms")}
AT_THRESHOLD = ("sensitivity", "specificity", "ppv", "npv")


def sizes_of(counts: dict[int, int]) -> np.ndarray:
    """Files of every group, int [G], from the number of groups of every size."""
    return np.repeat(list(counts), list(counts.values()))


def outcomes(random: np.random.Generator, sizes: np.ndarray, level: float, sharing: float, repeats: int) -> np.ndarray:
    """Draw which files are classified rightly, bool [repeats, N], with the files of a group side by side."""
    of_group = np.repeat(random.random((repeats, len(sizes))) < level, sizes, axis=1)
    shared = random.random(of_group.shape) < sharing
    return np.where(shared, of_group, random.random(of_group.shape) < level)


def per_group(files: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Sums over the files of every group, [repeats, G], from [repeats, N]."""
    return np.add.reduceat(files, np.r_[0, np.cumsum(sizes)[:-1]], axis=1, dtype=float)


def interval_coverage(sizes: np.ndarray, level: float, sharing: float, seed: int = 0, repeats: int = REPEATS) -> dict:
    """Coverage of three nominal 95 % intervals of an accuracy whose true value is `level`.

    Returns:
        Shares of the repeats: `ours` (what metrics/intervals.json holds), `groups` (percentile bootstrap over groups),
        `files` (percentile bootstrap over single files); `methods`, how often ours was which.
    """
    random = np.random.default_rng(seed)
    right = per_group(outcomes(random, sizes, level, sharing, repeats), sizes)
    covered = {"ours": 0, "groups": 0, "files": 0}
    methods = Counter()
    total = sizes.sum()
    for block, rows in enumerate(np.array_split(right, 20)):
        # One set of draws serves a block of repeats: they are the slow part.
        counts = resample_counts(len(sizes), RESAMPLES, seed + block)
        resampled = rows @ counts.T / (counts @ sizes)
        of_files = random.binomial(total, rows.sum(axis=1, keepdims=True) / total, (len(rows), RESAMPLES)) / total
        for successes, over_groups, over_files in zip(rows, resampled, of_files, strict=True):
            intervals = {
                "ours": share_interval(successes, sizes, counts),
                "groups": percentile_interval(over_groups),
                "files": percentile_interval(over_files),
            }
            methods[intervals["ours"].method] += 1
            for name, interval in intervals.items():
                covered[name] += interval.low <= level <= interval.high
    return {name: count / repeats for name, count in covered.items()} | {"methods": methods}


def false_positives(sizes: np.ndarray, level: float, sharing: float, seed: int = 0, repeats: int = REPEATS) -> dict:
    """Share of draws in which each test calls two models with the same true accuracy different at the 5 % level.

    Returns:
        Shares of the repeats: `sign_flip`, `mcnemar` (on one file per group), `mcnemar_files` (on all files).
    """
    random = np.random.default_rng(seed)
    a, b = (outcomes(random, sizes, level, sharing, repeats) for _ in range(2))
    differences = per_group(b, sizes) - per_group(a, sizes)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    rejected = {"sign_flip": 0, "mcnemar": 0, "mcnemar_files": 0}
    for repeat in range(repeats):
        one = one_per_unit(groups, seed=repeat)
        rejected["sign_flip"] += sign_flip_test(differences[repeat]) < LEVEL
        rejected["mcnemar"] += mcnemar_test(a[repeat][one], b[repeat][one])[0] < LEVEL
        rejected["mcnemar_files"] += mcnemar_test(a[repeat], b[repeat])[0] < LEVEL
    return {name: count / repeats for name, count in rejected.items()}


def structures() -> dict[str, list[np.ndarray]]:
    """Group sizes by class: the official test set by copies, the same by patients, and a test set of new patients."""
    healthy, copied = sizes_of(HEALTHY), sizes_of({1: 263, 2: 18, 3: 1})
    by_patients = [{2: 20, 3: 20, 5: 40}, {1: 148, 2: 19, 6: 20}, {3: 30, 6: 30, 10: 3}]
    glioma, meningioma, pituitary = map(sizes_of, by_patients)
    fresh = [np.linspace(2, most, count).astype(int) for most, count in ((38, 17), (28, 15), (40, 13))]
    return {
        "copies": [copied, copied, healthy, copied],
        "patients": [glioma, meningioma, healthy, pituitary],
        "new patients": [*fresh[:2], healthy, fresh[2]],
    }


def of_scans(
    random: np.random.Generator, unit: np.ndarray, columns: int, shared: float, heavy: bool = False
) -> np.ndarray:
    """Numbers for each scan, [N, columns], of variance 1, of which its unit, int [N], gives the part `shared`.

    What a unit gives is normal, or `heavy`: of Student's t with 3 degrees of freedom.
    """
    shape = (unit.max() + 1, columns)
    of_unit = random.standard_t(3, shape) / np.sqrt(3) if heavy else random.normal(size=shape)
    return np.sqrt(shared) * of_unit[unit] + np.sqrt(1 - shared) * random.normal(size=(len(unit), columns))


def predicted(
    random: np.random.Generator, sizes: list[np.ndarray], level: float, shared: float = SHARED, heavy: bool = False
) -> Predictions:
    """Predictions of scans in groups of the sizes, [G] for each class."""
    classes = np.repeat(np.arange(len(sizes)), [len(each) for each in sizes])
    unit = np.repeat(np.arange(len(classes)), np.concatenate(sizes))
    y_true, count = classes[unit], len(unit)
    logits = of_scans(random, unit, 4, shared, heavy) + level * np.eye(4)[y_true]
    probabilities = softmax(SHARPNESS * logits, axis=1)
    empty = dict.fromkeys(("path", "pixel_hash", "patient", "leaked", "exposure"), np.full(count, ""))
    columns = {"class_names": CLASSES, "group": unit, "unit": unit, "y_true": y_true}
    return Predictions(**empty, **columns, y_pred=probabilities.argmax(axis=1), probabilities=probabilities)


def estimates(table: Predictions, least: float) -> dict[str, Estimate]:
    """Shares and calibration with intervals, as the stage evaluate makes them; a tumour is called from `least` on."""
    bootstrap, confusions = GroupBootstrap(table.unit), ConfusionBootstrap([table])
    counted = {name: confusions.estimates(score)[0] for name, score in OF_COUNTS.items()}
    counted |= {name: confusions.estimates(score, NOTUMOR)[0] for name, score in OF_TUMOURS.items()}
    if bootstrap.numbers.max() >= MOST_UNITS:
        return counted
    at = tumour.at_threshold(table, NOTUMOR, SENSITIVITY, least, bootstrap)
    point = dict(at) | dict(tumour.predictive_values(at, PREVALENCE))
    fit = recalibration(table.y_true != NOTUMOR, table.probabilities[:, NOTUMOR], bootstrap.numbers)
    return (
        counted
        | {name: Estimate(point[name], Interval(point[f"{name}_low"], point[f"{name}_high"])) for name in AT_THRESHOLD}
        | {"slope": fit.slope, "intercept": fit.intercept}
    )


def score_coverage(name: str, level: float, seed: int = 0, repeats: int = REPEATS) -> list[dict]:
    """Coverage of the 95 % intervals of shares and calibration in one of the `structures`.

    Returns:
        For each score its `true` value; the share of the repeats without an interval, `none`; among the others the
        share that covers, and whose interval is too high or too low; and the median width and its 95th percentile.
    """
    sizes, random = structures()[name], np.random.default_rng(seed)
    # What a group shares changes no expectation. Four units are enough where intervals are not looked at.
    many = predicted(random, [np.ones(POPULATION * each.sum(), int) for each in sizes], level, shared=0)
    many = replace(many, unit=np.arange(len(many)) % 4)
    least = tumour.threshold(many, NOTUMOR, SENSITIVITY)
    truth = {score: estimate.value for score, estimate in estimates(many, least).items()}
    seen: dict[str, list[Interval]] = {}
    for _ in range(repeats):
        for score, estimate in estimates(predicted(random, sizes, level), least).items():
            seen.setdefault(score, []).append(estimate.interval)
    case = {"units": name, "level": level}
    return [
        case | {"score": score, "true": round(truth[score], 4)} | held(intervals, truth[score])
        for score, intervals in seen.items()
    ]


def held(intervals: Sequence[Interval], truth: float) -> dict[str, float]:
    """Shares of the repeats without an interval, and, among the others, what `score_coverage` returns."""
    ends = np.array([(each.low, each.high) for each in intervals if each.low is not None])
    high, low = float((ends[:, 0] > truth).mean()), float((ends[:, 1] < truth).mean())
    shares = {"none": 1 - len(ends) / len(intervals), "covers": 1 - high - low, "too_high": high, "too_low": low}
    width, wide = np.quantile(np.diff(ends), [0.5, 0.95]).tolist()
    return {key: round(value, 4) for key, value in (shares | {"width": width, "width_p95": wide}).items()}


def main() -> None:
    official, healthy, heavy = map(sizes_of, (OFFICIAL, HEALTHY, HEAVY))
    single = {count: sizes_of({1: count}) for count in (17, 290)}
    accuracies = [
        {"group_count": len(sizes), "file_count": int(sizes.sum()), "accuracy": level, "sharing": sharing}
        | interval_coverage(sizes, level, sharing)
        for sizes, level, sharing in (
            *((official, level, sharing) for level in (0.80, 0.90, 0.95) for sharing in (0.8, 1.0)),
            *((sizes, level, 0.9) for sizes in (healthy, heavy) for level in (0.80, 0.90, 0.98)),
            *((sizes, level, 1.0) for sizes in single.values() for level in (0.90, 0.98)),
        )
    ]
    tests = [
        {"group_count": len(sizes), "file_count": int(sizes.sum()), "sharing": sharing}
        | false_positives(sizes, 0.90, sharing)
        for sizes in (official, heavy)
        for sharing in (0.8, 1.0)
    ]
    scores = [row for case in CASES for row in score_coverage(*case)]
    results = {"command": "python -m research.simulations.coverage", "repeats": REPEATS}
    results |= {"accuracies": accuracies, "tests": tests, "scores": scores}
    write_json(RESULTS, results)
    print(tables(results))


def tables(results: dict) -> str:
    """Return the tables of README.md: the coverage of accuracies, and of other shares and calibration."""
    rows = [
        [row["group_count"], f"{row['file_count']:,}", f"{row['accuracy']:.2f}", row["sharing"]]
        + [percent(row[name]) for name in ("ours", "groups", "files")]
        for row in results["accuracies"]
    ]
    heads = ("groups", "files", "accuracy", "sharing", "ours", "bootstrap of groups", "of files")
    covers = {(row["score"], row["units"], row["level"]): row for row in results["scores"]}
    columns = list(dict.fromkeys(key[1:] for key in covers))
    scores = []
    for score in dict.fromkeys(key[0] for key in covers):
        found = [covers.get((score, *column)) for column in columns]
        scores.append([score, *(f"{percent(row['covers'])} at {row['true']:.3f}" if row else "" for row in found)])
    of_scores = table(["score", *(f"{units}, {level}" for units, level in columns)], scores)
    return table(heads, rows) + "\n\n" + of_scores


if __name__ == "__main__":
    main()
