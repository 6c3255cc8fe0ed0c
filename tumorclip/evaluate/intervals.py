"""95 % intervals for scores on test scans of which some are copies of each other.

A copy says nothing new, so a resample draws whole groups of copies (the cluster bootstrap; Davison & Hinkley 1997,
section 3.8). Scores of predicted classes are computed for all resamples at once, from resampled confusion counts.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from tumorclip.evaluate.metrics import Share
from tumorclip.tables import Predictions

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
    """A 95 % interval and how it was found: `bootstrap`, `wilson` or `exact`; or the reason why there is none."""

    low: float | None = None
    high: float | None = None
    method: str | None = None
    reason: str | None = None


class Estimate(NamedTuple):
    """The value of a score, NaN where it is not defined, and its interval."""

    value: float
    interval: Interval


def resample_counts(groups: int, resamples: int, seed: int) -> np.ndarray:
    """How often each group is drawn when as many as there are get drawn with replacement: float64 [R, G]."""
    generator = np.random.default_rng(seed)
    draws = (generator.integers(groups, size=groups) for _ in range(resamples))
    # Floating, so that sums over groups are matrix products.
    return np.array([np.bincount(draw, minlength=groups) for draw in draws], dtype=float)


def group_confusions(runs: Sequence[Predictions], numbers: np.ndarray) -> np.ndarray:
    """Count the scans of every group by true (rows) and predicted class, for each of S runs: float64 [S, G, K, K].

    The runs are over the same N scans in one order; `numbers`, int [N], say of which group each is, from 0 to G - 1.
    """
    classes = len(runs[0].class_names)
    confusions = np.zeros((len(runs), numbers.max() + 1, classes, classes))
    for counts, run in zip(confusions, runs, strict=True):
        np.add.at(counts, (numbers, run.y_true, run.y_pred), 1)
    return confusions


def resample_confusions(confusions: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Confusion counts [S, R, K, K] of resamples, from those of groups [S, G, K, K] and `resample_counts` [R, G]."""
    return np.stack([np.tensordot(counts, run, axes=1) for run in confusions])


def percentile_interval(values: np.ndarray) -> Interval:
    """The middle 95 % of the resampled `values`, [R]; NaN stands for a resample without a value."""
    defined = values[~np.isnan(values)]
    if len(defined) < MIN_DEFINED * len(values):
        return Interval(reason="too many resamples have no value: too few distinct scans")
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
    part, whole = part[whole > 0], whole[whole > 0]
    groups = len(whole)
    if groups == 0:
        return Interval(reason="there is no scan to count")
    share = part.sum() / whole.sum()
    tail = (1 - LEVEL) / 2
    if share == 0:
        return Interval(0.0, float(stats.beta.ppf(1 - tail, 1, groups)), "exact")
    if share == 1:
        return Interval(float(stats.beta.ppf(tail, groups, 1)), 1.0, "exact")
    if groups == 1:
        return Interval(reason="one distinct scan alone tells nothing about others")
    if groups >= FEW_GROUPS and 1 - NEAR_ONE <= share <= NEAR_ONE:
        return percentile_interval(resampled)
    return _wilson(part, whole)


class GroupBootstrap:
    """Resamples of N scans by their groups of copies, drawn once and used for all scores.

    Args:
        groups: the same for copies of each other, any type, [N].

    Attributes:
        numbers: the groups, numbered from 0: int [N].
        counts: how often each of the G groups is drawn in each of R resamples, float64 [R, G].
    """

    def __init__(self, groups: np.ndarray):
        self.numbers = np.unique(groups, return_inverse=True)[1]
        self.counts = resample_counts(self.numbers.max() + 1, RESAMPLES, SEED)

    def share(self, hits: np.ndarray, among: np.ndarray) -> Estimate:
        """The share of `hits`, bool [N], among the scans `among`, bool [N]."""
        part, whole = (np.bincount(self.numbers, weights=which) for which in (hits & among, among))
        with np.errstate(invalid="ignore"):
            resampled = (self.counts @ part) / (self.counts @ whole)
        value = float(part.sum() / whole.sum()) if whole.any() else np.nan
        return Estimate(value, share_interval(part, whole, resampled))

    def mean(self, values: np.ndarray) -> Estimate:
        """The mean of `values`, float [N]."""
        sums, sizes = np.bincount(self.numbers, weights=values), np.bincount(self.numbers)
        return Estimate(float(values.mean()), percentile_interval((self.counts @ sums) / (self.counts @ sizes)))

    def weighted(self, scores: Sequence[Callable[[np.ndarray], np.ndarray]]) -> list[Estimate]:
        """The mean of several scores, and then each: functions of how often each scan counts, from [R, N] to [R]."""
        blocks = np.array_split(self.counts, 1 + len(self.counts) * len(self.numbers) // BLOCK_VALUES)
        values = [score(np.ones((1, len(self.numbers))))[0] for score in scores]
        resampled = [np.concatenate([score(block[:, self.numbers]) for block in blocks]) for score in scores]
        mean = Estimate(float(np.mean(values)), percentile_interval(np.mean(resampled, axis=0)))
        return [mean, *map(Estimate, map(float, values), map(percentile_interval, resampled))]


class ConfusionBootstrap:
    """Scores of predicted classes with their intervals. Of several runs over the same scans, the mean counts."""

    def __init__(self, runs: Sequence[Predictions]):
        bootstrap = GroupBootstrap(runs[0].group)
        self._by_group = group_confusions(runs, bootstrap.numbers)
        self._resampled = resample_confusions(self._by_group, bootstrap.counts)

    def estimate(self, score: Callable[..., np.ndarray], *arguments) -> Estimate:
        """Value and interval of a score of tumorclip.evaluate.metrics that has one value for all classes together."""
        return self.estimates(score, *arguments)[0]

    def estimates(self, score: Callable[..., np.ndarray], *arguments) -> list[Estimate]:
        """The same for a score that has a value for each class."""
        values = np.atleast_1d(score(self._by_group.sum(axis=1), *arguments).mean(axis=0))
        resampled = _by_class(score(self._resampled, *arguments))
        if isinstance(score, Share):
            intervals = map(share_interval, *map(_by_class, score.counts(self._by_group, *arguments)), resampled)
        else:
            intervals = map(percentile_interval, resampled)
        return list(map(Estimate, values.tolist(), intervals))


def _by_class(values: np.ndarray) -> np.ndarray:
    """The mean over runs with a row for each class: [K, R] from [S, R, K], or [1, R] from [S, R]."""
    return np.atleast_2d(values.mean(axis=0).T)


def _wilson(part: np.ndarray, whole: np.ndarray) -> Interval:
    groups, scans = len(whole), whole.sum()
    share = part.sum() / scans
    variance = groups / (groups - 1) * ((part - share * whole) ** 2).sum() / scans**2
    size = min(scans, share * (1 - share) / variance) if variance > 0 else scans
    z = stats.norm.ppf((1 + LEVEL) / 2)
    size *= (z / stats.t.ppf((1 + LEVEL) / 2, groups - 1)) ** 2
    middle = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * np.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    return Interval(float(max(0, middle - half)), float(min(1, middle + half)), "wilson")
