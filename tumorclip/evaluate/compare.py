"""Whether two experiments that were tested on the same scans really differ.

Copies of one scan succeed or fail together, so nothing here counts a file as independent of its copies: the bootstrap
draws whole groups of copies, the sign-flip test flips whole groups, and McNemar's test sees one file of each.

A side of a comparison is one run, or several that differ in their seed. One run per side says something about two
trained models; only several say something about two methods, because what one training reaches varies with its seed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from tumorclip.errors import UserError
from tumorclip.evaluate.intervals import (
    Interval,
    accuracy,
    group_confusions,
    macro_f1,
    percentile_interval,
    resample_confusions,
    resample_counts,
)

SIGNIFICANT = 0.05  # a p-value below it says that there is a difference
METRICS = {"accuracy": accuracy, "macro F1": macro_f1}


class Paired(NamedTuple):
    """Several runs over the same N test scans, in one order.

    Attributes:
        paths: path of every scan in the first run.
        actual: int [N], class index.
        groups: int [N], 0..G-1 by first appearance; copies of one scan share a number.
        predicted: int [N] of every run by its name, class index.
        class_names: name of every class index.
    """

    paths: list[str]
    actual: np.ndarray
    groups: np.ndarray
    predicted: dict[str, np.ndarray]
    class_names: list[str]


class Difference(NamedTuple):
    """One score of both sides and B minus A, NaN where undefined, with the 95 % interval of that difference."""

    a: float
    b: float
    difference: float
    interval: Interval


class Comparison(NamedTuple):
    """Side B against side A.

    Attributes:
        runs: number of runs of A and of B.
        scores: by the name of the score.
        sign_flip: p-value of `sign_flip_test`, which takes the trained models as given.
        mcnemar: what `mcnemar_test` says of one scan per group; None with several runs on a side.
        p_value: the one that decides: of the sign-flip test, or with several runs on a side, whose seeds it must
            cover, of the bootstrap.
        votes: int [N, K] of A and of B, how many of its runs predict each class.
        disagree: int [D], indices of the scans for which most runs of A and most runs of B predict another class.
    """

    runs: tuple[int, int]
    scores: dict[str, Difference]
    sign_flip: float
    mcnemar: tuple[float, int, int] | None
    p_value: float
    votes: tuple[np.ndarray, np.ndarray]
    disagree: np.ndarray


def compare(paired: Paired, a: Sequence[str], b: Sequence[str], resamples: int = 2000, seed: int = 0) -> Comparison:
    """Compare the runs named in `b` with those named in `a`; see the functions below for every part."""
    actual, groups, classes = paired.actual, paired.groups, len(paired.class_names)
    sides = [[paired.predicted[name] for name in names] for names in (a, b)]
    confusions = [run_confusions(actual, side, groups, classes) for side in sides]
    resampled = bootstrap_difference(*confusions, list(METRICS.values()), resamples, seed)
    scores = {}
    for (name, metric), differences in zip(METRICS.items(), resampled, strict=True):
        score_a, score_b = (float(metric(side.sum(axis=1)).mean()) for side in confusions)
        scores[name] = Difference(score_a, score_b, score_b - score_a, percentile_interval(differences))
    several = len(a) > 1 or len(b) > 1
    sign_flip = sign_flip_test(group_differences(actual, *sides, groups))
    one = one_per_group(groups, seed)
    right_a, right_b = ((side[0] == actual)[one] for side in sides)
    both_votes = tuple(votes(side, classes) for side in sides)
    return Comparison(
        runs=(len(a), len(b)),
        scores=scores,
        sign_flip=sign_flip,
        mcnemar=None if several else mcnemar_test(right_a, right_b),
        p_value=bootstrap_p_value(resampled[0]) if several else sign_flip,
        votes=both_votes,
        disagree=np.flatnonzero(both_votes[0].argmax(axis=1) != both_votes[1].argmax(axis=1)),
    )


def pair(runs: Mapping[str, Sequence[Mapping[str, str]]], class_names: list[str]) -> Paired:
    """Bring the predictions of several runs into one order, by the hash of each scan's pixels.

    Files with the same pixels are told apart by their class and then by their path, so a run over a renamed folder
    still fits.

    Args:
        runs: the rows of plots/predictions.csv of every run, by its name; the keys `path`, `pixel_hash`, `group`,
            `actual` and `predicted` are read.
        class_names: name of every class index.

    Raises:
        UserError: a run was tested on other scans than the first one, or on other labels or groups of copies (groups
            are equal if they hold the same scans, whatever their numbers). It says how many the two have in common.
    """
    ordered = {
        name: sorted(rows, key=lambda row: (row["pixel_hash"], row["actual"], row["path"]))
        for name, rows in runs.items()
    }
    (first, rows), *others = ordered.items()
    hashes = [row["pixel_hash"] for row in rows]
    actual = [row["actual"] for row in rows]
    groups = _by_first_appearance([row["group"] for row in rows])
    for name, other in others:
        between = f"{first} and {name}"
        other_hashes = [row["pixel_hash"] for row in other]
        if other_hashes != hashes:
            common = (Counter(hashes) & Counter(other_hashes)).total()
            raise UserError(
                f"{between} were tested on other scans: {len(rows)} and {len(other)}, {common} of them in common; "
                "compare runs with the same data and split"
            )
        agree = sum(label == row["actual"] for label, row in zip(actual, other, strict=True))
        if agree < len(rows):
            raise UserError(
                f"{between} give other classes to the same scans: {agree} of {len(rows)} agree; "
                "compare runs with the same labels"
            )
        alike = _alike(groups, _by_first_appearance([row["group"] for row in other]))
        if alike < len(rows):
            raise UserError(
                f"{between} group other scans as copies: {alike} of {len(rows)} scans have the same copies in both; "
                "compare runs with the same verify parameters"
            )
    index = {name: number for number, name in enumerate(class_names)}
    return Paired(
        paths=[row["path"] for row in rows],
        actual=np.array([index[label] for label in actual]),
        groups=groups,
        predicted={name: np.array([index[row["predicted"]] for row in rows]) for name, rows in ordered.items()},
        class_names=class_names,
    )


def run_confusions(actual: np.ndarray, predicted: Sequence[np.ndarray], groups: np.ndarray, classes: int) -> np.ndarray:
    """Confusion counts of every run and group, float64 [S, G, K, K], from int [N] arrays, S of them in `predicted`."""
    return np.stack([group_confusions(actual, each, groups, classes) for each in predicted])


def bootstrap_difference(
    confusions_a: np.ndarray, confusions_b: np.ndarray, metrics: Sequence, resamples: int = 2000, seed: int = 0
) -> np.ndarray:
    """Paired bootstrap over groups of the difference of each metric, B minus A.

    Every resample draws G groups with replacement and scores both sides on the same draw. A side's score is the mean
    over its runs; with several runs they are drawn too, independently on each side. Of S runs S - 1 are drawn, since
    a draw of all S makes the variance between few runs too small by the factor (S - 1) / S: Rao and Wu, Resampling
    Inference with Complex Survey Data, JASA 83 (1988). Pairs under one draw: Efron and Tibshirani, An Introduction to
    the Bootstrap (1993), chapter 8.

    Args:
        confusions_a, confusions_b: float [S, G, K, K], confusion counts of every run and group of each side.
        metrics: functions from confusion counts [..., K, K] to scores [...].

    Returns:
        float [M, R], the difference of each of the M metrics in each of R resamples; NaN where it is undefined.
    """
    groups = confusions_a.shape[1]
    counts = resample_counts(groups, resamples, seed)
    random = np.random.default_rng([seed, 1])
    sides = []
    for confusions in (confusions_a, confusions_b):
        runs = len(confusions)
        resampled = np.stack([resample_confusions(run, counts) for run in confusions])
        drawn = max(runs - 1, 1)
        weights = random.multinomial(drawn, np.full(runs, 1 / runs), size=resamples).T / drawn
        sides.append(np.stack([(weights * metric(resampled)).sum(axis=0) for metric in metrics]))
    return sides[1] - sides[0]


def bootstrap_p_value(differences: np.ndarray) -> float:
    """Two-sided p-value of no difference from bootstrapped differences [R].

    The level at which the percentile interval just reaches zero, with one added to both counts as in Davison and
    Hinkley, Bootstrap Methods and their Application (1997), equation 4.11.
    """
    below, above = (differences <= 0).sum(), (differences >= 0).sum()
    return float(min(1, 2 * (1 + min(below, above)) / (1 + len(differences))))


def sign_flip_test(differences: np.ndarray) -> float:
    """Exact two-sided p-value of a permutation test over groups.

    If A and B do equally well, they could as well have changed places in any group, which flips the sign of that
    group's difference d_g. The p-value is the share of the 2^G ways to flip signs with |sum of +-d_g| at least as
    large as the one observed. The distribution of that sum is convolved group by group, so every flip is counted and
    none is drawn. A test that draws flips needs a correction for that (Phipson and Smyth, Permutation P-values Should
    Never Be Zero, 2010); this one needs none.

    Args:
        differences: int [G], how many more scans of the group B gets right than A.
    """
    sizes = np.abs(differences[differences != 0]).astype(int)
    if len(sizes) == 0:
        return 1.0
    sizes //= np.gcd.reduce(sizes)
    observed = abs(int(np.sign(differences[differences != 0]) @ sizes))
    share = np.ones(1)  # of the flips whose sum is the index minus the middle one
    for size in sizes:
        wider = np.zeros(len(share) + 2 * size)
        wider[: len(share)] += share / 2
        wider[-len(share) :] += share / 2
        share = wider
    sums = np.arange(len(share)) - len(share) // 2
    return float(min(1, share[np.abs(sums) >= observed].sum()))


def group_differences(
    actual: np.ndarray, predicted_a: Sequence[np.ndarray], predicted_b: Sequence[np.ndarray], groups: np.ndarray
) -> np.ndarray:
    """How many more scans of each group B gets right than A, int [G], for `sign_flip_test`.

    With several runs per side the difference of the means, times the number of runs on both sides to stay whole.
    """
    right_a, right_b = (sum((each == actual).astype(int) for each in side) for side in (predicted_a, predicted_b))
    per_scan = right_b * len(predicted_a) - right_a * len(predicted_b)
    return np.rint(np.bincount(groups, weights=per_scan)).astype(int)


def mcnemar_test(right_a: np.ndarray, right_b: np.ndarray) -> tuple[float, int, int]:
    """McNemar's exact test: whether the scans that one side alone gets right are shared out like tosses of a coin.

    McNemar, Note on the Sampling Error of the Difference between Correlated Proportions, Psychometrika 12 (1947), with
    the binomial distribution in place of its approximation. The scans must be independent: one of each group.

    Args:
        right_a, right_b: bool [N], whether each side is right on a scan.

    Returns:
        The two-sided p-value, the number of scans that A alone gets right, and that B alone gets right.
    """
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    p_value = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return p_value, only_a, only_b


def one_per_group(groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """Indices of one randomly chosen scan of every group, int [G], from int [N]."""
    order = np.random.default_rng(seed).permutation(len(groups))
    _, first = np.unique(groups[order], return_index=True)
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


def votes(predicted: Sequence[np.ndarray], classes: int) -> np.ndarray:
    """How many runs predict each class for each scan, int [N, K], from int [N] of every run."""
    return sum((np.asarray(each)[:, None] == np.arange(classes)).astype(int) for each in predicted)


def _by_first_appearance(names: Sequence[str]) -> np.ndarray:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names])


def _alike(groups: np.ndarray, others: np.ndarray) -> int:
    """How many scans are grouped with exactly the same scans in both partitions, int [N] each."""
    both = Counter(zip(groups.tolist(), others.tolist(), strict=True))
    sizes, other_sizes = np.bincount(groups), np.bincount(others)
    return sum(count for (one, other), count in both.items() if count == sizes[one] == other_sizes[other])
