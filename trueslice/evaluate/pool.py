"""One score from several runs: the out-of-fold predictions of a cross-validation, or repeats with other seeds.

The interval of a score comes from the pooled predictions, by `Predictions.unit`: it covers other test scans with the
same models. From three seeds on the accuracy has two more: over other seeds, and over other seeds and scans. The range
over single folds is no confidence interval, since folds share most of their training scans (Bengio & Grandvalet, No
Unbiased Estimator of the Variance of K-Fold Cross-Validation, JMLR 5, 2004).
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from trueslice.errors import UserError
from trueslice.evaluate import metrics
from trueslice.evaluate.compare import (
    METHODS,
    jackknife,
    method_error,
    number_units,
    pair,
    require_same_classes,
)
from trueslice.evaluate.intervals import ConfusionBootstrap, Estimate, Interval, student_interval
from trueslice.evaluate.score import Metric, distinct_weights
from trueslice.evaluate.sides import comparable
from trueslice.params import flat
from trueslice.tables.predictions import Predictions

# Runs that are pooled may differ in these parameters alone, or the mean would be one of different things.
FREE = ("split.fold", "seed")
SCORES: dict[str, Metric] = {
    "accuracy": metrics.accuracy,
    "balanced accuracy": metrics.balanced_accuracy,
    "macro F1": metrics.macro_f1,
    "MCC": metrics.mcc,
    "Cohen's kappa": metrics.cohen_kappa,
}


class PooledRun(NamedTuple):
    """A run of the pipeline."""

    name: str
    params: Mapping[str, Any]  # the content of params.yaml
    predictions: Predictions


class Pooled(NamedTuple):
    """Scores of several runs together. Each is the mean over repeats of the score on all pooled scans."""

    out_of_fold: bool  # whether every fold tested other scans; else all runs tested the same ones
    predictions: Predictions  # of one seed; its scans are the pooled ones
    scores: dict[str, Estimate]  # overall, per class, and per distinct scan
    by_fold: dict[int, float]  # accuracy of every fold, the mean over its seeds
    by_seed: dict[int, float]  # of every seed on all pooled scans; the mean over folds that tested the same scans
    over_seeds: Interval | None  # of the mean of `by_seed`, over other seeds; None with fewer than three
    over_both: Interval | None  # the same over other seeds and other units


def pool(runs: Sequence[PooledRun]) -> Pooled:
    """Pool the predictions of several runs: one for every seed and, if params have `split.folds`, every fold.

    UserError if the runs know different classes, or differ in a parameter other than fold, seed and device, if a fold
    or a seed is missing or there twice, or if their test scans, labels or groups don't fit together.
    """
    require_same_classes({run.name: run.predictions for run in runs})
    placed = _by_fold_and_seed(runs)
    folds, seeds = (sorted(set(numbers)) for numbers in zip(*placed, strict=True))
    out_of_fold = _are_disjoint([placed[fold, seeds[0]] for fold in folds])
    same_scans = [[placed[fold, seed] for seed in seeds] for fold in folds] if out_of_fold else [list(placed.values())]
    paired = [pair({run.name: run.predictions for run in repeated}).values() for repeated in same_scans]
    repeats = [Predictions.concatenate(tables) for tables in zip(*paired, strict=True)]
    accuracy = {key: np.mean(run.predictions.y_true == run.predictions.y_pred) for key, run in placed.items()}
    sizes = [len(placed[fold, seeds[0]].predictions) for fold in folds]
    return Pooled(
        out_of_fold=out_of_fold,
        predictions=repeats[0],
        scores=_scores(repeats),
        by_fold={fold: float(np.mean([accuracy[fold, seed] for seed in seeds])) for fold in folds},
        by_seed={seed: float(np.average([accuracy[fold, seed] for fold in folds], weights=sizes)) for seed in seeds},
        **_of_the_method(repeats if len(repeats) == len(seeds) else []),
    )


def _of_the_method(repeats: Sequence[Predictions]) -> dict[str, Interval | None]:
    """Compute the intervals `over_seeds` and `over_both` of the accuracy, from the predictions of every seed."""
    if len(repeats) < METHODS:
        return {"over_seeds": None, "over_both": None}
    units = number_units(repeats[0])
    values, errors = jackknife(repeats, units, metrics.accuracy)
    mean, of_seeds = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    # Against a side that is known exactly.
    error, freedom = method_error((np.zeros(2), values), (np.zeros((2, units.max() + 1)), errors))
    return {
        "over_seeds": student_interval(mean, of_seeds, len(values) - 1, lowest=0),
        "over_both": student_interval(mean, float(error), float(freedom), lowest=0),
    }


def _by_fold_and_seed(runs: Sequence[PooledRun]) -> dict[tuple[int, int], PooledRun]:
    """Order the runs by fold and seed; every fold with every seed."""
    first, wanted = runs[0], _fixed(runs[0].params)
    for run in runs[1:]:
        given = _fixed(run.params)
        if others := sorted(key for key in wanted.keys() | given.keys() if wanted.get(key) != given.get(key)):
            values = f"{others[0]}: {wanted.get(others[0])} and {given.get(others[0])}"
            only = "runs that are pooled may differ in split.fold and seed alone"
            raise UserError(f"{first.name} and {run.name} differ in {values}; {only}")
    placed: dict[tuple[int, int], PooledRun] = {}
    for run in runs:
        fold, seed = run.params["split"]["fold"], run.params["seed"]
        if other := placed.get((fold, seed)):
            same = f"are the same fold, {fold}, with the same seed, {seed}"
            raise UserError(f"{other.name} and {run.name} {same}; name one of them")
        placed[fold, seed] = run
    folds = first.params["split"]["folds"] or 1
    for seed in sorted({seed for _, seed in placed}):
        if numbers := ",".join(str(fold) for fold in range(1, folds + 1) if (fold, seed) not in placed):
            command = f"dvc exp run --queue -S split.folds={folds} -S split.fold={numbers} -S seed={seed}"
            raise UserError(f"with seed {seed} split.fold {numbers} of {folds} is missing; run: {command}")
    return dict(sorted(placed.items()))


def _fixed(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters that must agree, by dotted name, as text."""
    return {name: value for name, value in comparable(flat(params)).items() if name not in FREE}


def _are_disjoint(folds: Sequence[PooledRun]) -> bool:
    """Return True if all folds tested different scans, False if all tested the same; else UserError."""
    if len({frozenset(run.predictions.path.tolist()) for run in folds}) == 1:
        return False
    for kind, column in (("test scans", "path"), ("groups of copies", "group")):
        for a, b in combinations(folds, 2):
            common = np.intersect1d(getattr(a.predictions, column), getattr(b.predictions, column))
            if len(common):
                shared = f"the folds {a.name} and {b.name} share {kind} ({len(common)})"
                raise UserError(f"{shared}; run them again from the same data")
    return True


def _scores(repeats: Sequence[Predictions]) -> dict[str, Estimate]:
    confusions = ConfusionBootstrap(repeats)
    scores = {name: confusions.estimate(score) for name, score in SCORES.items()}
    for name, estimate in zip(repeats[0].class_names, confusions.estimates(metrics.recall), strict=True):
        scores[f"sensitivity, {name}"] = estimate
    weights = distinct_weights(repeats[0])
    if weights.any():
        scores["accuracy per distinct scan"] = ConfusionBootstrap(repeats, weights).estimate(metrics.accuracy)
    return scores
