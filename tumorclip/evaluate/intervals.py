"""95 % intervals for scores on test scans of which some are copies of each other.

A copy says nothing new, so what is drawn again and again is not the scan but its whole group of copies (the cluster
bootstrap; Davison & Hinkley 1997, section 3.8). Scores that follow from the confusion matrix are computed for all
resamples at once, from resampled confusion matrices.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95
RESAMPLES = 2000
SEED = 0  # the same predictions always have the same intervals
# Where the percentile bootstrap covers less than it says (simulated in benchmarks/coverage.py).
FEW_GROUPS = 200
NEAR_ONE = 0.95
MIN_DISTINCT = 30  # fewer distinct scans of a class carry no figure of their own
# Of all resamples, so many must have a value: one class that is often not drawn makes a score undefined.
MIN_DEFINED = 0.95


class Interval(NamedTuple):
    """A 95 % interval and how it was found: `bootstrap`, `wilson` or `exact`; or None, None, None and the reason."""

    low: float | None
    high: float | None
    method: str | None
    reason: str | None = None


class Bin(NamedTuple):
    """Some of the test scans: their number, how many of them are distinct, and the share of hits, None if empty."""

    scans: int
    distinct: int
    share: float | None
    interval: Interval


def resample_counts(groups: int, resamples: int, seed: int) -> np.ndarray:
    """How often each of `groups` groups is drawn when as many are drawn with replacement: float64 [resamples, groups].

    Floating, so that sums over groups are matrix products.
    """
    counts = np.empty((resamples, groups))
    generator = np.random.default_rng(seed)
    for row in counts:
        row[:] = np.bincount(generator.integers(groups, size=groups), minlength=groups)
    return counts


def number_groups(groups: np.ndarray) -> np.ndarray:
    """Number groups (any type, [N]) from 0 on: int [N]."""
    return np.unique(groups, return_inverse=True)[1]


def group_confusions(actual: np.ndarray, predicted: np.ndarray, groups: np.ndarray, classes: int) -> np.ndarray:
    """Count the scans of every group by actual (rows) and predicted class: float64 [G, K, K].

    Args:
        actual, predicted: class indices, int [N].
        groups: any type, [N]; results are in the order of the sorted groups.
        classes: K.
    """
    numbers = number_groups(groups)
    confusions = np.zeros((numbers.max(initial=-1) + 1, classes, classes))
    np.add.at(confusions, (numbers, actual, predicted), 1)
    return confusions


def resample_confusions(confusions: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Confusion matrices [R, K, K] of resamples, from those of groups [G, K, K] and `resample_counts` [R, G]."""
    return (counts @ confusions.reshape(len(confusions), -1)).reshape(len(counts), *confusions.shape[1:])


# What follows takes confusion matrices [..., K, K], actual classes in rows, and gives [...], NaN where undefined.


def accuracy(confusions: np.ndarray) -> np.ndarray:
    return _ratio(_hits(confusions).sum(axis=-1), confusions.sum(axis=(-2, -1)))


def balanced_accuracy(confusions: np.ndarray) -> np.ndarray:
    """Mean sensitivity over the classes."""
    return sensitivity(confusions).mean(axis=-1)


def macro_precision(confusions: np.ndarray) -> np.ndarray:
    return precision(confusions).mean(axis=-1)


def macro_f1(confusions: np.ndarray) -> np.ndarray:
    return f1(confusions).mean(axis=-1)


def matthews(confusions: np.ndarray) -> np.ndarray:
    """Matthews' correlation coefficient for K classes (Gorodkin 2004, eq. 8)."""
    total, hits = confusions.sum(axis=(-2, -1)), _hits(confusions).sum(axis=-1)
    actual, predicted = confusions.sum(axis=-1), confusions.sum(axis=-2)
    covariance = hits * total - (actual * predicted).sum(axis=-1)
    spread = (total**2 - (actual**2).sum(axis=-1)) * (total**2 - (predicted**2).sum(axis=-1))
    return _ratio(covariance, np.sqrt(np.maximum(spread, 0)))


def cohen_kappa(confusions: np.ndarray) -> np.ndarray:
    """Agreement beyond chance (Cohen 1960)."""
    total = confusions.sum(axis=(-2, -1))
    chance = (confusions.sum(axis=-1) * confusions.sum(axis=-2)).sum(axis=-1)
    return _ratio(_hits(confusions).sum(axis=-1) * total - chance, total**2 - chance)


# And these give one value per class, [..., K].


def sensitivity(confusions: np.ndarray) -> np.ndarray:
    return _ratio(_hits(confusions), confusions.sum(axis=-1))


def precision(confusions: np.ndarray) -> np.ndarray:
    return _ratio(_hits(confusions), confusions.sum(axis=-2))


def f1(confusions: np.ndarray) -> np.ndarray:
    return _ratio(2 * _hits(confusions), confusions.sum(axis=-1) + confusions.sum(axis=-2))


def percentile_interval(values: np.ndarray) -> Interval:
    """The middle 95 % of the resampled `values`, [R]; NaN stands for a resample without a value."""
    defined = values[~np.isnan(values)]
    if len(defined) < MIN_DEFINED * len(values):
        return Interval(None, None, None, "too many resamples have no value: too few distinct scans")
    low, high = np.percentile(defined, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(float(low), float(high), "bootstrap")


def proportion_interval(successes: np.ndarray, trials: np.ndarray, resampled: np.ndarray) -> Interval:
    """The interval of a share of scans, `successes.sum() / trials.sum()`.

    - All right or all wrong: exact (Clopper & Pearson 1934), each group counted once, since nothing tells by how much
      the scans of a group differ.
    - From fewer than 200 groups, or above 0.95 (or, as seen from the other side, below 0.05): Wilson's (1927) at the
      effective number of scans, n / design effect, further reduced for the groups that the design effect was estimated
      from, by squared ratio of normal to t quantile (Korn & Graubard 1998, Survey Methodology 24).
    - Else the percentiles of the bootstrap over groups.

    Args:
        successes, trials: counts of every group, [G]; groups without trials don't count.
        resampled: the share in every resample, [R], NaN where there are no trials.
    """
    successes, trials = successes[trials > 0].astype(float), trials[trials > 0].astype(float)
    groups, total = len(trials), trials.sum()
    if groups == 0:
        return Interval(None, None, None, "there is no scan to count")
    share = successes.sum() / total
    if share in (0, 1):
        return Interval(*_exact(share * groups, groups), "exact")
    if groups == 1:
        return Interval(None, None, None, "one distinct scan alone tells nothing about others")
    if groups >= FEW_GROUPS and 1 - NEAR_ONE <= share <= NEAR_ONE:
        return percentile_interval(resampled)
    return Interval(*_wilson(share, _effective_size(successes, trials)), "wilson")


class GroupBootstrap:
    """Resamples of N scans by their groups of copies, drawn once and counted for every score.

    Attributes:
        groups: any type, [N].
        numbers: the same from 0 on, int [N].
        counts: how often each group is drawn, float64 [R, G].
    """

    def __init__(self, groups: np.ndarray, resamples: int = RESAMPLES, seed: int = SEED):
        self.groups, self.numbers = groups, number_groups(groups)
        self.counts = resample_counts(self.numbers.max() + 1, resamples, seed)

    def confusions(self, actual: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
        """Confusion matrices [R, K, K] of the resamples, from class indices, int [N]."""
        return resample_confusions(group_confusions(actual, predicted, self.groups, classes), self.counts)

    def proportion(self, hits: np.ndarray, among: np.ndarray | None = None) -> Interval:
        """The interval of a share of the scans `among`, bool [N], all by default.

        Args:
            hits: bool [N], or the share of several runs that are right, float [N].
        """
        among = np.ones(len(hits), bool) if among is None else among
        successes, trials = (np.bincount(self.numbers, weights=which) for which in (hits * among, among))
        with np.errstate(invalid="ignore"):
            resampled = (self.counts @ successes) / (self.counts @ trials)
        return proportion_interval(successes, trials, resampled)

    def within(self, bins: np.ndarray, count: int, hits: np.ndarray) -> list[Bin]:
        """The share of `hits`, bool [N], in each of `count` bins; `bins`, int [N], says in which one a scan is."""
        result = []
        for index in range(count):
            inside = bins == index
            share = float(hits[inside].mean()) if inside.any() else None
            distinct = len(np.unique(self.numbers[inside]))
            result.append(Bin(int(inside.sum()), distinct, share, self.proportion(hits, inside)))
        return result

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean of `values`, [N], in every resample: [R]."""
        sums, sizes = np.bincount(self.numbers, weights=values), np.bincount(self.numbers)
        return (self.counts @ sums) / (self.counts @ sizes)


def _effective_size(successes: np.ndarray, trials: np.ndarray) -> float:
    """Number of independent scans that would tell as much, from counts per group, [G] with G > 1: n at most."""
    groups, total = len(trials), trials.sum()
    share = successes.sum() / total
    residuals = successes - share * trials
    variance = groups / (groups - 1) * (residuals**2).sum() / total**2
    size = min(total, share * (1 - share) / variance) if variance > 0 else total
    ratio = stats.norm.ppf((1 + LEVEL) / 2) / stats.t.ppf((1 + LEVEL) / 2, groups - 1)
    return size * ratio**2


def _wilson(share: float, size: float) -> tuple[float, float]:
    z = stats.norm.ppf((1 + LEVEL) / 2)
    middle = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * np.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    return float(max(0, middle - half)), float(min(1, middle + half))


def _exact(successes: float, trials: int) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2
    low = stats.beta.ppf(tail, successes, trials - successes + 1) if successes else 0.0
    high = stats.beta.ppf(1 - tail, successes + 1, trials - successes) if successes < trials else 1.0
    return float(low), float(high)


def _hits(confusions: np.ndarray) -> np.ndarray:
    return np.diagonal(confusions, axis1=-2, axis2=-1)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
