"""Whether two experiments that were tested on the same scans really differ.

Copies of one scan succeed or fail together, so no file counts as independent of its copies: the bootstrap draws whole
groups of copies, the sign-flip test flips whole groups, and McNemar's test sees one file of each group.

A side of a comparison is one run, or several that differ in their seed. One run per side says something about two
trained models. Only several say something about two methods, because what one training reaches varies with its seed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from tumorclip.errors import UserError
from tumorclip.evaluate import intervals
from tumorclip.evaluate.metrics import accuracy, macro_f1
from tumorclip.tables import Predictions

SIGNIFICANT = 0.05  # a p-value below it says that there is a difference
SCORES = {"accuracy": accuracy, "macro F1": macro_f1}


class Difference(NamedTuple):
    """One score of both sides, and B minus A with its 95 % interval; NaN where it is not defined."""

    a: float
    b: float
    difference: float
    interval: intervals.Interval


class Comparison(NamedTuple):
    """Side B against side A."""

    runs: tuple[int, int]  # number of runs of A and of B
    scores: dict[str, Difference]
    sign_flip: float  # p-value of `sign_flip_test`, which takes the trained models as given
    mcnemar: tuple[float, int, int] | None  # `mcnemar_test` on one scan per group; None with several runs on a side
    p_value: float  # the one that decides: of the sign flips; with several runs on a side, of the bootstrap over seeds
    votes: tuple[np.ndarray, np.ndarray]  # int [N, K] of A and of B, how many of its runs predict each class
    disagree: np.ndarray  # int [D], the scans for which most runs of A predict another class than most runs of B


def compare(runs: Mapping[str, Predictions], a: Sequence[str], b: Sequence[str]) -> Comparison:
    """Compare the runs named in `b` with those named in `a`, all of them as `pair` returns them."""
    sides = [[runs[name] for name in names] for names in (a, b)]
    first = sides[0][0]
    # By first appearance, so that other numbers for the same groups give the same resamples.
    numbers = {group: number for number, group in enumerate(dict.fromkeys(first.group.tolist()))}
    groups = np.array([numbers[group] for group in first.group.tolist()])
    confusions = [intervals.group_confusions(side, groups) for side in sides]
    resampled = bootstrap_difference(*confusions, list(SCORES.values()), intervals.RESAMPLES, intervals.SEED)
    scores = {}
    for (name, score), differences in zip(SCORES.items(), resampled, strict=True):
        score_a, score_b = (float(score(side.sum(axis=1)).mean()) for side in confusions)
        interval = intervals.percentile_interval(differences)
        scores[name] = Difference(score_a, score_b, score_b - score_a, interval)
    hits_a, hits_b = (np.trace(side, axis1=2, axis2=3).sum(axis=0) for side in confusions)
    # The difference of the means, times the number of runs on both sides to stay whole.
    sign_flip = sign_flip_test(hits_b * len(a) - hits_a * len(b))
    several = len(a) > 1 or len(b) > 1
    one = one_per_group(groups)
    right_a, right_b = ((side[0].y_pred == side[0].y_true)[one] for side in sides)
    one_hot = np.eye(len(first.class_names), dtype=int)
    votes_a, votes_b = (sum(one_hot[run.y_pred] for run in side) for side in sides)
    return Comparison(
        runs=(len(a), len(b)),
        scores=scores,
        sign_flip=sign_flip,
        mcnemar=None if several else mcnemar_test(right_a, right_b),
        p_value=bootstrap_p_value(resampled[0]) if several else sign_flip,
        votes=(votes_a, votes_b),
        disagree=np.flatnonzero(votes_a.argmax(axis=1) != votes_b.argmax(axis=1)),
    )


def pair(runs: Mapping[str, Predictions]) -> dict[str, Predictions]:
    """Bring the predictions of several runs, by name, into one order, by the hash of each scan's pixels.

    Files with the same pixels are told apart by their class and then by their path, so a run over a renamed folder
    still fits.

    Raises:
        UserError: a run knows other classes than the first one, or was tested on other scans, or on other labels or
            groups of copies. Groups are equal if they hold the same scans, whatever their numbers. The message says
            how many scans the two have in common.
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
        alike = _alike(first.group.tolist(), other.group.tolist())
        if alike < len(first):
            raise UserError(
                f"{between} group other scans as copies: {alike} of {len(first)} scans have the same copies in both; "
                "compare runs with the same verify parameters"
            )
    return ordered


def _alike(groups: list[int], others: list[int]) -> int:
    """How many scans are grouped with exactly the same scans in both partitions."""
    pairs = list(zip(groups, others, strict=True))
    sizes, other_sizes, common = Counter(groups), Counter(others), Counter(pairs)
    return sum(sizes[one] == other_sizes[other] == common[one, other] for one, other in pairs)


def require_same_classes(runs: Mapping[str, Predictions]) -> None:
    """Raise a UserError unless all runs, by name, know the same classes in the same order."""
    (first, known), *others = ((name, predictions.class_names) for name, predictions in runs.items())
    for name, given in others:
        if given != known:
            raise UserError(f"{first} and {name} know different classes: {', '.join(known)}; {', '.join(given)}")


def bootstrap_difference(
    confusions_a: np.ndarray, confusions_b: np.ndarray, scores: Sequence, resamples: int, seed: int
) -> np.ndarray:
    """Paired bootstrap over groups of the difference of each score, B minus A.

    Every resample draws G groups with replacement and scores both sides on the same draw. A side's score is the mean
    over its runs; with several runs they are drawn too, independently on each side. Of S runs S - 1 are drawn, since
    a draw of all S makes the variance between few runs too small by the factor (S - 1) / S: Rao and Wu, Resampling
    Inference with Complex Survey Data, JASA 83 (1988). Pairs under one draw: Efron and Tibshirani, An Introduction to
    the Bootstrap (1993), chapter 8.

    Args:
        confusions_a, confusions_b: float [S, G, K, K], confusion counts of every run and group of each side.
        scores: functions from confusion counts [..., K, K] to [...], as in tumorclip.evaluate.metrics.

    Returns:
        float [M, R], the difference of each of the M scores in each of R resamples; NaN where it is not defined.
    """
    counts = intervals.resample_counts(confusions_a.shape[1], resamples, seed)
    random = np.random.default_rng([seed, 1])
    sides = []
    for confusions in (confusions_a, confusions_b):
        runs = len(confusions)
        resampled = intervals.resample_confusions(confusions, counts)
        drawn = max(runs - 1, 1)
        weights = random.multinomial(drawn, np.full(runs, 1 / runs), size=resamples).T / drawn
        sides.append(np.stack([(weights * score(resampled)).sum(axis=0) for score in scores]))
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
    differences = differences[differences != 0].astype(int)
    if len(differences) == 0:
        return 1.0
    differences //= np.gcd.reduce(differences)
    share = np.ones(1)  # of the flips whose sum is the index minus the middle one
    for size in np.abs(differences):
        share = (np.pad(share, (0, 2 * size)) + np.pad(share, (2 * size, 0))) / 2
    sums = np.arange(len(share)) - len(share) // 2
    return float(min(1, share[np.abs(sums) >= abs(differences.sum())].sum()))


def mcnemar_test(right_a: np.ndarray, right_b: np.ndarray) -> tuple[float, int, int]:
    """McNemar's exact test: do the scans that only one side gets right fall to either side like tosses of a coin?

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
