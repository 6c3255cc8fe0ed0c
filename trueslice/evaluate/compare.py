"""Comparison of two experiments that were tested on the same scans.

Scans of one patient, and copies of one scan, tend to be right or wrong together. So the statistics work on units of
scans, `Predictions.unit`: the jackknife leaves out whole units, the sign-flip test flips whole units, and McNemar's
test uses one scan of each unit.

A side of a comparison is one run, or several that differ in their seed. The score of a trained model depends on its
seed. So a statement about two methods needs several runs on both sides; with fewer it is one about the models.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from trueslice.errors import UserError
from trueslice.evaluate.intervals import (
    ROUNDING,
    Interval,
    group_confusions,
    jackknife_errors,
    model_error,
    student_interval,
)
from trueslice.evaluate.metrics import accuracy, macro_f1
from trueslice.tables.predictions import Predictions

SIGNIFICANT = 0.05  # a p-value below it says that there is a difference
FEW = 12  # in fewer units that differ, the interval covers too little (simulated with research/simulations/methods.py)
METHODS = 3  # from this many runs on both sides on, a comparison is one of methods
SCORES: dict[str, Callable[..., np.ndarray]] = {"accuracy": accuracy, "macro F1": macro_f1}


class Difference(NamedTuple):
    """One score of both sides, and B minus A with its 95 % interval and p-value; NaN where there is none."""

    a: float
    b: float
    difference: float
    interval: Interval
    p_value: float


class Comparison(NamedTuple):
    """Side B minus side A: the differences of two scores, and the tests of the difference in accuracy."""

    runs: tuple[int, int]  # number of runs of A and of B
    of_methods: bool  # True for two methods, with three runs or more each; False for trained models
    scores: dict[str, Difference]
    sign_flip: float  # p-value of `sign_flip_test`, which takes the trained models as given
    mcnemar: tuple[float, int, int] | None  # `mcnemar_test` on one scan per unit; None with several runs on a side
    p_value: float  # for the verdict: of Student's t for methods, of the sign flips for trained models
    votes: tuple[np.ndarray, np.ndarray]  # int [N, K] of A and of B, the number of its runs that predict each class
    differ: int  # number of units in which the two sides differ in the number of correct scans
    disagree: np.ndarray  # int [D], scans for which most runs of A predict another class than most runs of B


def compare(runs: Mapping[str, Predictions], a: Sequence[str], b: Sequence[str], of_methods: bool = True) -> Comparison:
    """Compare the runs named in `b` with those named in `a`, all as `pair` returns them; the rest as `difference`."""
    sides = [[runs[name] for name in names] for names in (a, b)]
    first = sides[0][0]
    units = number_units(first)
    scores = {name: difference(sides[0], sides[1], score, of_methods) for name, score in SCORES.items()}
    right_a, right_b = (np.array([run.y_pred == run.y_true for run in side]) for side in sides)
    # The difference of the means, times the number of runs on both sides to stay whole.
    differences = right_b.sum(axis=0) * len(a) - right_a.sum(axis=0) * len(b)
    by_unit = np.bincount(units, weights=differences)
    sign_flip = sign_flip_test(by_unit)
    of_methods = of_methods and min(len(a), len(b)) >= METHODS
    one = one_per_unit(units)
    one_hot = np.eye(len(first.class_names), dtype=int)
    votes_a, votes_b = (sum(one_hot[run.y_pred] for run in side) for side in sides)
    return Comparison(
        runs=(len(a), len(b)),
        of_methods=of_methods,
        scores=scores,
        sign_flip=sign_flip,
        mcnemar=mcnemar_test(right_a[0][one], right_b[0][one]) if len(a) == len(b) == 1 else None,
        p_value=scores["accuracy"].p_value if of_methods else sign_flip,
        votes=(votes_a, votes_b),
        differ=int(np.count_nonzero(by_unit)),
        disagree=np.flatnonzero(votes_a.argmax(axis=1) != votes_b.argmax(axis=1)),
    )


def number_units(predictions: Predictions) -> np.ndarray:
    """Return the unit of each scan as a number from 0, by first appearance, so that results do not depend on names."""
    numbers = {unit: number for number, unit in enumerate(dict.fromkeys(predictions.unit.tolist()))}
    return np.array([numbers[unit] for unit in predictions.unit.tolist()])


def difference(
    a: Sequence[Predictions], b: Sequence[Predictions], score: Callable = accuracy, of_methods: bool = True
) -> Difference:
    """Compute the mean score of the runs `b` minus the mean score of the runs `a`, on the same scans.

    With three runs or more on both sides it is a difference of methods, `method_error`; with fewer one of the trained
    models, `model_error`. The interval and the p-value come from Student's t distribution.

    Args:
        a, b: one run or several, all over the same N scans in one order.
        score: from confusion counts [..., K, K] to [...], as in trueslice.evaluate.metrics.
        of_methods: False if the runs of a side differ in more than their seed; it is one of trained models then.
    """
    units = number_units(a[0])
    (values_a, errors_a), (values_b, errors_b) = (jackknife(side, units, score) for side in (a, b))
    mean_a, mean_b = float(values_a.mean()), float(values_b.mean())
    if of_methods and min(len(a), len(b)) >= METHODS:
        error, freedom = method_error((values_a, values_b), (errors_a, errors_b))
    else:
        error, freedom = model_error(errors_b.mean(axis=0) - errors_a.mean(axis=0))
    found = mean_b - mean_a
    p_value = float(2 * stats.t.sf(abs(found) / error, freedom)) if error > ROUNDING else np.nan
    return Difference(mean_a, mean_b, found, student_interval(found, float(error), float(freedom)), p_value)


def jackknife(runs: Sequence[Predictions], units: np.ndarray, score: Callable) -> tuple[np.ndarray, np.ndarray]:
    """Compute a score of S runs, and the contribution of each of G units to its error.

    Leaving out unit g gives the score s_g, and its error is sqrt((G - 1) / G) (s_g - mean of all s_g). The sum of
    their squares is the variance of the score over other units, that of their products a covariance (Efron & Tibshirani
    1993, chapter 11; of whole clusters: MacKinnon, Nielsen & Webb 2023, as CR3).

    Args:
        units: int [N], the unit of each scan, from 0 to G - 1.

    Returns:
        float64 [S] and [S, G]; NaN where the score is not defined, also without one of the units.
    """
    confusions = group_confusions(runs, units)
    total = confusions.sum(axis=1)
    without = score(total[:, None] - confusions)
    return score(total), jackknife_errors(without)


def method_error(
    values: tuple[np.ndarray, np.ndarray], errors: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the standard error of the difference of two methods, over seeds and units, and its degrees of freedom.

    The variance of the difference of the means of S_A and S_B runs is

        s_A^2 / S_A + s_B^2 / S_B + max(0, C_A + C_B - 2 C_AB)

    where s^2 is the variance of the score over a side's runs, C_A the mean covariance over units of two runs of A, and
    C_AB that of a run of A and one of B. It is the analysis of variance of radiologists who read the same cases, with
    runs for readers, nested in the methods (Obuchowski & Rockette 1995; Hillis 2007; Gallas et al. 2009). The degrees
    of freedom are Satterthwaite's: variance^2 / sum of term^2 / degrees of freedom of the term, which are S - 1 and,
    for the last term, the ones that `model_error` returns.

    Args:
        values, errors: of both sides as `jackknife` returns them, [..., S] and [..., S, G].

    Returns:
        Both [...].
    """
    runs = [side.shape[-1] for side in values]
    of_seeds = [side.var(axis=-1, ddof=1) / count for side, count in zip(values, runs, strict=True)]
    # The variance over units of the difference of the means holds the errors of each run alone too, as s^2 does.
    of_both, freedom = model_error(errors[1].mean(axis=-2) - errors[0].mean(axis=-2))
    alone = [side.var(axis=-2, ddof=1).sum(axis=-1) / count for side, count in zip(errors, runs, strict=True)]
    of_units = np.maximum(of_both**2 - sum(alone), 0)
    variance = sum(of_seeds) + of_units
    with np.errstate(invalid="ignore"):
        spread = sum(term**2 / (count - 1) for term, count in zip(of_seeds, runs, strict=True))
        # Where no unit says anything, `freedom` is NaN and the term 0.
        return np.sqrt(variance), variance**2 / (spread + of_units**2 / np.nan_to_num(freedom, nan=1))


def pair(runs: Mapping[str, Predictions]) -> dict[str, Predictions]:
    """Bring the predictions of several runs, by name, into one order, by the hash of each scan's pixels.

    Files with the same pixels are told apart by their class and then by their path, so a run over a renamed folder
    still fits.

    Raises:
        UserError: a run knows other classes than the first one, or was tested on other scans, or on other labels or
            groups of copies or units. Groups are equal if they hold the same scans; their numbers may differ. The
            message says how many scans the two have in common.
    """
    require_same_classes(runs)
    ordered = {
        name: table.take(np.lexsort((table.path, table.y_true, table.pixel_hash))) for name, table in runs.items()
    }
    (first_name, first), *others = ordered.items()
    for name, other in others:
        between = f"{first_name} and {name}"
        if not np.array_equal(first.pixel_hash, other.pixel_hash):
            common = (Counter(first.pixel_hash.tolist()) & Counter(other.pixel_hash.tolist())).total()
            raise UserError(
                f"{between} were tested on other scans: {len(first)} and {len(other)}, {common} of them in common; "
                "compare runs with the same data and split"
            )
        agree = int((first.y_true == other.y_true).sum())
        if agree < len(first):
            raise UserError(
                f"{between} give other classes to the same scans: {agree} of {len(first)} agree; "
                "compare runs with the same labels"
            )
        for column, grouped, same in (
            ("group", "group other scans as copies", "copies"),
            ("unit", "join other scans as of one patient", "unit"),
        ):
            alike = _alike(getattr(first, column).tolist(), getattr(other, column).tolist())
            if alike < len(first):
                raise UserError(
                    f"{between} {grouped}: {alike} of {len(first)} scans have the same {same} in both; "
                    "compare runs with the same verify parameters"
                )
    return ordered


def _alike(groups: list[int], others: list[int]) -> int:
    """Count the scans that are grouped with exactly the same scans in both partitions."""
    pairs = list(zip(groups, others, strict=True))
    sizes, other_sizes, common = Counter(groups), Counter(others), Counter(pairs)
    return sum(sizes[one] == other_sizes[other] == common[one, other] for one, other in pairs)


def require_same_classes(runs: Mapping[str, Predictions]) -> None:
    """Raise a UserError unless all runs, by name, know the same classes in the same order."""
    (first, known), *others = ((name, predictions.class_names) for name, predictions in runs.items())
    for name, given in others:
        if given != known:
            raise UserError(f"{first} and {name} know different classes: {', '.join(known)}; {', '.join(given)}")


def sign_flip_test(differences: np.ndarray) -> float:
    """Compute the exact two-sided p-value of a permutation test over units.

    If A and B are equally good, exchanging them in any unit is as likely, which flips the sign of that unit's
    difference d_u. The p-value is the share of the 2^U ways to flip signs with |sum of +-d_u| at least as large as the
    one observed. The distribution of that sum is convolved unit by unit, so every flip is counted and none is drawn at
    random. A test that draws flips needs a correction (Phipson and Smyth, Permutation P-values Should Never Be Zero,
    2010); this one needs none.

    Args:
        differences: whole numbers [U], how many more scans of the unit B gets right than A.
    """
    differences = differences[differences != 0].astype(int)
    if len(differences) == 0:
        return 1.0
    differences //= np.gcd.reduce(differences)
    share = np.ones(1)  # of the flips with the sum: index minus the middle one
    for size in np.abs(differences):
        share = (np.pad(share, (0, 2 * size)) + np.pad(share, (2 * size, 0))) / 2
    sums = np.arange(len(share)) - len(share) // 2
    return float(min(1, share[np.abs(sums) >= abs(differences.sum())].sum()))


def mcnemar_test(right_a: np.ndarray, right_b: np.ndarray) -> tuple[float, int, int]:
    """McNemar's exact test: are the scans that only one side gets right equally likely on either side?

    McNemar, Note on the Sampling Error of the Difference between Correlated Proportions, Psychometrika 12 (1947), with
    the binomial distribution in place of its approximation. The scans must be independent: one of each unit.

    Args:
        right_a, right_b: bool [N], whether each side is right on a scan.

    Returns:
        The two-sided p-value, the number of scans that A alone gets right, and that B alone gets right.
    """
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    p_value = float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return p_value, only_a, only_b


def one_per_unit(units: np.ndarray, seed: int = 0) -> np.ndarray:
    """Choose one scan of every unit at random: indices, int [U], from units, int [N]."""
    order = np.random.default_rng(seed).permutation(len(units))
    _, first = np.unique(units[order], return_index=True)
    return order[first]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number, so that the chance of any false difference among them stays at the level.

    The i-th smallest of m is multiplied by m - i + 1, and none falls below the one before it. Holm, A Simple
    Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6 (1979).
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, dtype=float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted.tolist()
