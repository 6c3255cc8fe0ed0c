"""95 % intervals for scores on test scans of which some are copies of each other.

A copy says nothing new, so a resample draws whole groups of copies (the cluster bootstrap; Davison & Hinkley 1997,
section 3.8). Scores of predicted classes are computed for all resamples at once, from resampled confusion counts.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from tumorclip.evaluate.metrics import Share

LEVEL = 0.95
RESAMPLES = 2000
SEED = 0  # the same predictions always have the same intervals
# Where the percentile bootstrap covers less than it says (simulated in benchmarks/coverage.py).
FEW_GROUPS = 200
NEAR_ONE = 0.95
MIN_DISTINCT = 30  # fewer distinct scans of a class are too few for a score of their own
# This share of the resamples must have a value: a class that is often not drawn leaves a score without one.
MIN_DEFINED = 0.95
BLOCK_VALUES = 2**22  # weights of scans held at once


class Interval(NamedTuple):
    """A 95 % interval and how it was found: `bootstrap`, `wilson` or `exact`; or None, None, None and the reason."""

    low: float | None
    high: float | None
    method: str | None
    reason: str | None = None


class Estimate(NamedTuple):
    """The value of a score, NaN where it is not defined, and its interval."""

    value: float
    interval: Interval


def resample_counts(groups: int, resamples: int, seed: int) -> np.ndarray:
    """How often each group is drawn when as many as there are get drawn with replacement: float64 [resamples, groups].

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


def group_confusions(y_true: np.ndarray, y_pred: np.ndarray, groups: np.ndarray, class_count: int) -> np.ndarray:
    """Count the scans of every group by true (rows) and predicted class: float64 [G, K, K].

    Args:
        y_true, y_pred: class indices, int [N].
        groups: any type, [N]; results are in the order of the sorted groups.
        class_count: K.
    """
    numbers = number_groups(groups)
    confusions = np.zeros((numbers.max(initial=-1) + 1, class_count, class_count))
    np.add.at(confusions, (numbers, y_true, y_pred), 1)
    return confusions


def resample_confusions(confusions: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Confusion counts [R, K, K] of resamples, from those of groups [G, K, K] and `resample_counts` [R, G]."""
    return (counts @ confusions.reshape(len(confusions), -1)).reshape(len(counts), *confusions.shape[1:])


def percentile_interval(values: np.ndarray) -> Interval:
    """The middle 95 % of the resampled `values`, [R]; NaN stands for a resample without a value."""
    defined = values[~np.isnan(values)]
    if len(defined) < MIN_DEFINED * len(values):
        return Interval(None, None, None, "too many resamples have no value: too few distinct scans")
    low, high = np.percentile(defined, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(float(low), float(high), "bootstrap")


def share_interval(part: np.ndarray, whole: np.ndarray, resampled: np.ndarray) -> Interval:
    """The interval of a share of scans, `part.sum() / whole.sum()`.

    - If it is 0 or 1: exact (Clopper & Pearson 1934), each group counted once, since nothing tells by how much the
      scans of a group differ.
    - From fewer than 200 groups, or above 0.95, or below 0.05: Wilson's (1927) at the effective number of scans,
      n / design effect. That number is reduced by the squared ratio of normal to t quantile, because the design effect
      is estimated from the groups (Korn & Graubard 1998, Survey Methodology 24).
    - Else the percentiles of the bootstrap over groups.

    Args:
        part, whole: numbers of scans in each group, [G]; groups where `whole` is 0 don't count.
        resampled: the share in every resample, [R], NaN where it is not defined.
    """
    part, whole = part[whole > 0].astype(float), whole[whole > 0].astype(float)
    groups = len(whole)
    if groups == 0:
        return Interval(None, None, None, "there is no scan to count")
    share = part.sum() / whole.sum()
    if share in (0, 1):
        return Interval(*_exact(share * groups, groups), "exact")
    if groups == 1:
        return Interval(None, None, None, "one distinct scan alone tells nothing about others")
    if groups >= FEW_GROUPS and 1 - NEAR_ONE <= share <= NEAR_ONE:
        return percentile_interval(resampled)
    return Interval(*_wilson(share, _effective_size(part, whole)), "wilson")


class GroupBootstrap:
    """Resamples of N scans by their groups of copies, drawn once and used for all scores.

    Args:
        groups: the same for copies of each other, any type, [N].

    Attributes:
        numbers: the groups, numbered from 0: int [N].
        counts: how often each of the G groups is drawn in each of R resamples, float64 [R, G].
    """

    def __init__(self, groups: np.ndarray, resamples: int = RESAMPLES, seed: int = SEED):
        self.numbers = number_groups(groups)
        self.counts = resample_counts(self.numbers.max() + 1, resamples, seed)

    def share(self, hits: np.ndarray, among: np.ndarray | None = None) -> Estimate:
        """The share of `hits`, bool [N], among the scans `among`, bool [N], by default all."""
        among = np.ones(len(hits), bool) if among is None else among
        part, whole = (np.bincount(self.numbers, weights=which) for which in (hits & among, among))
        with np.errstate(invalid="ignore"):
            resampled = (self.counts @ part) / (self.counts @ whole)
        value = float(part.sum() / whole.sum()) if whole.any() else np.nan
        return Estimate(value, share_interval(part, whole, resampled))

    def mean(self, values: np.ndarray) -> Estimate:
        """The mean of `values`, float [N]."""
        sums, sizes = np.bincount(self.numbers, weights=values), np.bincount(self.numbers)
        return Estimate(float(values.mean()), percentile_interval((self.counts @ sums) / (self.counts @ sizes)))

    def weighted(self, score: Callable[[np.ndarray], np.ndarray]) -> tuple[float, np.ndarray]:
        """Value, and values in the resamples, float64 [R], of a function of how often each scan counts.

        Args:
            score: takes float [r, N], gives [r].
        """
        step = max(1, BLOCK_VALUES // len(self.numbers))
        blocks = [self.counts[start : start + step] for start in range(0, len(self.counts), step)]
        resampled = np.concatenate([score(block[:, self.numbers]) for block in blocks])
        return float(score(np.ones((1, len(self.numbers))))[0]), resampled


class ConfusionBootstrap:
    """Scores of predicted classes with their intervals. Of several runs over the same scans, the mean counts.

    Args:
        y_true: class indices, int [N].
        runs: predicted class indices of each run, int [N] each.
        bootstrap: of these scans.
        class_count: K.

    Attributes:
        counts: confusion counts of all runs together, float64 [K, K], true classes in rows.
    """

    def __init__(self, y_true: np.ndarray, runs: Sequence[np.ndarray], bootstrap: GroupBootstrap, class_count: int):
        self._by_group = np.stack([group_confusions(y_true, each, bootstrap.numbers, class_count) for each in runs])
        self._resampled = np.stack([resample_confusions(each, bootstrap.counts) for each in self._by_group])
        self.counts = self._by_group.sum(axis=(0, 1))

    def estimate(self, score: Callable[..., np.ndarray], *arguments) -> Estimate:
        """Value and interval of a score of tumorclip.evaluate.metrics that has one value for all classes together."""
        return self.estimates(score, *arguments)[0]

    def estimates(self, score: Callable[..., np.ndarray], *arguments) -> list[Estimate]:
        """The same for a score that has a value for each class."""
        values = np.atleast_1d(score(self._by_group.sum(axis=1), *arguments).mean(axis=0))
        resampled = score(self._resampled, *arguments).mean(axis=0)
        columns = resampled.reshape(len(resampled), -1).T
        if isinstance(score, Share):
            counts = [each.mean(axis=0) for each in score.counts(self._by_group, *arguments)]
            parts, wholes = (each.reshape(len(each), -1).T for each in counts)
            intervals = map(share_interval, parts, wholes, columns)
        else:
            intervals = map(percentile_interval, columns)
        return list(map(Estimate, values.tolist(), intervals))


def _effective_size(part: np.ndarray, whole: np.ndarray) -> float:
    """The number of independent scans that would tell as much, at most the number of scans; [G] each, G > 1."""
    groups, scans = len(whole), whole.sum()
    share = part.sum() / scans
    residuals = part - share * whole
    variance = groups / (groups - 1) * (residuals**2).sum() / scans**2
    size = min(scans, share * (1 - share) / variance) if variance > 0 else scans
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
