"""One score from several runs: the out-of-fold predictions of a cross-validation, or repeats with other seeds.

The interval comes from the pooled predictions, by groups of copies. How much single folds or seeds differ is given
apart: folds share most of their training scans, so their spread is no confidence interval (Bengio & Grandvalet, No
Unbiased Estimator of the Variance of K-Fold Cross-Validation, JMLR 5, 2004).
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from tumorclip.errors import UserError
from tumorclip.evaluate import intervals
from tumorclip.evaluate.compare import pair
from tumorclip.evaluate.intervals import GroupBootstrap, Interval
from tumorclip.evaluate.score import Predictions, distinct

# What runs that are pooled may differ in: nothing else, or the mean is one of different things.
FREE = ("split.fold", "train.seed", "train.device", "verify.device", "machine.")
SCORES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "balanced accuracy": intervals.balanced_accuracy,
    "macro F1": intervals.macro_f1,
    "MCC": intervals.matthews,
    "Cohen's kappa": intervals.cohen_kappa,
}


class Run(NamedTuple):
    """A run's name, the content of its params.yaml, and the rows of its plots/predictions.csv."""

    name: str
    params: Mapping[str, Any]
    rows: Sequence[Mapping[str, str]]


class Score(NamedTuple):
    """A score, NaN where undefined: the mean over repeats of what each reaches on all pooled scans."""

    name: str
    value: float
    interval: Interval


class Pooled(NamedTuple):
    """What several runs say together.

    Attributes:
        out_of_fold: whether every fold tested other scans; else all runs tested the same ones.
        scans, groups: number of test scans, and of groups of copies among them.
        scores: overall, per class, and per distinct scan.
        by_fold: accuracy of every fold, the mean over its seeds.
        by_seed: accuracy of every seed on all pooled scans; the mean over the folds if they tested the same scans.
    """

    out_of_fold: bool
    scans: int
    groups: int
    scores: list[Score]
    by_fold: dict[int, float]
    by_seed: dict[int, float]


def pool(runs: Sequence[Run], class_names: list[str]) -> Pooled:
    """Pool the predictions of several runs.

    Args:
        runs: one for every fold and seed; every fold, in any order, if params have `split.folds`.
        class_names: name of every class index.

    Raises:
        UserError: the runs differ in a parameter other than fold, seed and device, a fold or a seed is missing or there
            twice, or their test scans, labels or groups don't fit together.
    """
    placed = _by_fold_and_seed(runs)
    folds, seeds = sorted({fold for fold, _ in placed}), sorted({seed for _, seed in placed})
    out_of_fold = _are_disjoint([placed[fold, seeds[0]] for fold in folds])
    if out_of_fold:
        for fold in folds:
            pair({placed[fold, seed].name: placed[fold, seed].rows for seed in seeds}, class_names)
        repeats = [[placed[fold, seed] for fold in folds] for seed in seeds]
    else:
        pair({run.name: run.rows for run in placed.values()}, class_names)
        repeats = [[run] for run in placed.values()]
    predictions = [_predictions(runs, class_names) for runs in repeats]
    accuracies = {key: np.mean([row["actual"] == row["predicted"] for row in run.rows]) for key, run in placed.items()}
    sizes = {fold: len(placed[fold, seeds[0]].rows) for fold in folds}
    return Pooled(
        out_of_fold=out_of_fold,
        scans=len(predictions[0].actual),
        groups=len(np.unique(predictions[0].groups)),
        scores=_scores(predictions, class_names),
        by_fold={fold: float(np.mean([accuracies[fold, seed] for seed in seeds])) for fold in folds},
        by_seed={
            seed: float(np.average([accuracies[fold, seed] for fold in folds], weights=list(sizes.values())))
            for seed in seeds
        },
    )


def _by_fold_and_seed(runs: Sequence[Run]) -> dict[tuple[int, int], Run]:
    """The runs by fold and training seed, in that order; every fold with every seed."""
    first, wanted = runs[0], _flat(runs[0].params)
    for run in runs[1:]:
        given = _flat(run.params)
        for key in sorted(wanted.keys() | given.keys()):
            if wanted.get(key) != given.get(key):
                raise UserError(
                    f"{first.name} and {run.name} differ in {key}: {wanted.get(key)} and {given.get(key)}; "
                    "runs that are pooled may differ in split.fold and train.seed alone"
                )
    placed: dict[tuple[int, int], Run] = {}
    for run in runs:
        key = (run.params["split"]["fold"], run.params["train"]["seed"])
        if key in placed:
            raise UserError(
                f"{placed[key].name} and {run.name} are the same fold, {key[0]}, with the same train.seed, {key[1]}; "
                "name one of them"
            )
        placed[key] = run
    folds = first.params["split"]["folds"] or 1
    for seed in sorted({seed for _, seed in placed}):
        if missing := [str(fold) for fold in range(1, folds + 1) if (fold, seed) not in placed]:
            numbers = ",".join(missing)
            raise UserError(
                f"with train.seed {seed} split.fold {numbers} of {folds} is missing; run: dvc exp run --queue "
                f"-S split.folds={folds} -S split.fold={numbers} -S train.seed={seed}"
            )
    return dict(sorted(placed.items()))


def _flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The parameters that must agree, by dotted name, as text."""
    flat: dict[str, str] = {}
    for key, value in params.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: str(value)}
    return {name: value for name, value in flat.items() if not name.startswith(FREE)}


def _are_disjoint(folds: Sequence[Run]) -> bool:
    """Whether folds tested different scans, in different groups of copies, or all of them the same."""
    paths = [{row["path"] for row in run.rows} for run in folds]
    if all(each == paths[0] for each in paths):
        return False
    groups = [{row["group"] for row in run.rows} for run in folds]
    for kind, of_fold in (("test scans", paths), ("groups of copies", groups)):
        for a, b in combinations(range(len(folds)), 2):
            if common := len(of_fold[a] & of_fold[b]):
                raise UserError(
                    f"the folds {folds[a].name} and {folds[b].name} share {kind} ({common}); "
                    "run them again from the same data"
                )
    return True


def _predictions(runs: Sequence[Run], class_names: list[str]) -> Predictions:
    """The predictions of all folds one after another, each in the order of `comparing.pair`."""
    rows = [
        row for run in runs for row in sorted(run.rows, key=lambda row: (row["pixel_hash"], row["actual"], row["path"]))
    ]
    probabilities = np.array([[float(row[f"probability_{name}"]) for name in class_names] for row in rows])
    return Predictions(
        actual=np.array([class_names.index(row["actual"]) for row in rows]),
        probabilities=probabilities,
        uncalibrated=probabilities,
        groups=np.array([row["group"] for row in rows]),
        leaked=np.array([row["leaked"] == "1" for row in rows]),
    )


def _scores(repeats: Sequence[Predictions], class_names: list[str]) -> list[Score]:
    actual, resamples, classes = repeats[0].actual, GroupBootstrap(repeats[0].groups), len(class_names)
    right = np.mean([each.predicted == each.actual for each in repeats], axis=0)
    confusions = [intervals.group_confusions(actual, each.predicted, each.groups, classes) for each in repeats]
    resampled = [intervals.resample_confusions(each, resamples.counts) for each in confusions]

    def share(name: str, hits: np.ndarray, among: np.ndarray, over: GroupBootstrap) -> Score:
        value = hits[among].mean() if among.any() else np.nan
        return Score(name, float(value), over.proportion(hits, among))

    every = np.ones(len(actual), dtype=bool)
    result = [share("accuracy", right, every, resamples)]
    for name, metric in SCORES.items():
        value = np.mean([metric(each.sum(axis=0)) for each in confusions])
        result.append(
            Score(name, float(value), _interval(value, np.mean([metric(each) for each in resampled], axis=0)))
        )
    for index, name in enumerate(class_names):
        result.append(share(f"sensitivity, {name}", right, actual == index, resamples))
    votes = [distinct(each) for each in repeats]
    if len(votes[0][0]):
        right = np.mean([predicted == truth for truth, predicted, _, _ in votes], axis=0)
        result.append(
            share("accuracy per distinct scan", right, np.ones(len(right), bool), GroupBootstrap(votes[0][2]))
        )
    return result


def _interval(value: float, resampled: np.ndarray) -> Interval:
    if np.isnan(value):
        return Interval(None, None, None, "it has no value in some class")
    return intervals.percentile_interval(resampled)
