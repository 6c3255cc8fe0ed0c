"""95 % intervals for scores on test scans, some of which may be of one patient, or copies of each other.

These scans are right or wrong together. So whole units, `Predictions.unit`, are drawn (the cluster bootstrap; Davison &
Hinkley 1997, section 3.8) or left out (the jackknife; Efron & Tibshirani 1993, chapter 11).
research/simulations/coverage.py simulates how often intervals contain the true value; the rules below follow from it.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from scipy import stats
from scipy.special import expit, logit

from trueslice.evaluate.metrics import Share, cohen_kappa, mcc
from trueslice.tables.predictions import Predictions

LEVEL = 0.95
RESAMPLES = 2000
SEED = 0  # the same predictions always have the same intervals
# With fewer groups, or a share nearer to 0 or 1, the percentile bootstrap of a share covers less than 95 %.
FEW_GROUPS = 400  # as `effective_groups` counts them
NEAR_ONE = 0.95
MIN_DISTINCT = 30  # fewer distinct scans of a class are too few for a score of their own
# At least this share of the resamples must have a value; a resample without a class may have none.
MIN_DEFINED = 0.95
NEAREST = 0.75  # share of the way from a score to the end of its scale
ROUNDING = 1e-12  # a number up to this size counts as 0
BLOCK_VALUES = 2**22  # weights of scans held at once


class Interval(NamedTuple):
    """A 95 % interval and how it was found, or the reason why there is none."""

    low: float | None = None
    high: float | None = None
    # `bootstrap`, `jackknife`, `logit_jackknife`, `log_jackknife`, `wilson` or `exact`
    method: str | None = None
    reason: str | None = None
    covers: float | None = None  # simulated share of intervals that hold the true value, where it is below 0.93


LIMITS = ("low", "high")
SHARE = (*LIMITS, "method", "reason")  # the fields of the interval of a share of scans that records keep


class Scale(NamedTuple):
    """A transformation of a score after which its errors are about symmetric."""

    method: str
    ends: tuple[float, float]  # of the score
    transform: Callable[[Any], Any]
    inverse: Callable[[Any], Any]


PLAIN = Scale("jackknife", (-np.inf, np.inf), np.positive, np.positive)
UNIT = Scale("logit_jackknife", (0, 1), logit, expit)
SIGNED = Scale("logit_jackknife", (-1, 1), lambda values: logit((values + 1) / 2), lambda values: 2 * expit(values) - 1)
LOSS = Scale("log_jackknife", (0, np.inf), np.log, np.exp)


class Estimate(NamedTuple):
    """The value of a score, NaN where it is not defined, and its interval."""

    value: float
    interval: Interval

    def fields(self, name: str, keys: Sequence[str] = Interval._fields) -> dict[str, Any]:
        """Return fields for a record: the value as `name`, None where it is not defined, and fields of the interval."""
        value = None if np.isnan(self.value) else self.value
        return {name: value} | {key: getattr(self.interval, key) for key in keys}

    def limits(self, name: str) -> dict[str, Any]:
        """Return the value and its limits as the fields `name`, `name`_low and `name`_high of a record."""
        return self.fields(name, ()) | {f"{name}_{key}": getattr(self.interval, key) for key in LIMITS}


@lru_cache(maxsize=4)
def resample_counts(groups: int, resamples: int, seed: int) -> np.ndarray:
    """Draw G of G groups with replacement, R times; count how often each is drawn: float64 [R, G]."""
    generator = np.random.default_rng(seed)
    draws = (generator.integers(groups, size=groups) for _ in range(resamples))
    # Floating, so that sums over groups are matrix products.
    counts = np.array([np.bincount(draw, minlength=groups) for draw in draws], dtype=float)
    counts.flags.writeable = False  # the next caller gets the same array
    return counts


def effective_groups(sizes: np.ndarray) -> float:
    """Compute the number of groups of equal size that tell as much as these (Kish 1965, section 8.2).

    It is (sum of sizes)^2 / sum of sizes^2, if all scans of a group have one outcome. `sizes`, [G], are numbers of
    scans, not all 0.
    """
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def group_confusions(runs: Sequence[Predictions], numbers: np.ndarray, weights: np.ndarray | float = 1.0) -> np.ndarray:
    """Count the scans of every group by true (rows) and predicted class, for each of S runs: float64 [S, G, K, K].

    The runs are over the same N scans in one order; `numbers`, int [N], are their groups, from 0 to G - 1, and
    `weights`, float [N], their weights.
    """
    classes = len(runs[0].class_names)
    confusions = np.zeros((len(runs), numbers.max() + 1, classes, classes))
    for counts, run in zip(confusions, runs, strict=True):
        np.add.at(counts, (numbers, run.y_true, run.y_pred), weights)
    return confusions


def percentile_interval(values: np.ndarray) -> Interval:
    """Return the middle 95 % of the resampled `values`, [R]; NaN is a resample without a value."""
    defined = values[~np.isnan(values)]
    if len(defined) < MIN_DEFINED * len(values):
        return Interval(reason="too many resamples have no value: too few distinct scans")
    low, high = np.percentile(defined, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(float(low), float(high), "bootstrap")


def jackknife_interval(value: float, without: np.ndarray, scale: Scale) -> Interval:
    """Compute the value plus and minus t standard errors of the jackknife over groups, on `scale`.

    Near the end of its range the errors of a score are skewed, and percentiles of resamples are too optimistic. A score
    without one of the groups may be at the end itself, where the scale is infinite. So it is moved back: to at most
    three quarters of the way from the score to the end.

    Args:
        without: the score without each of the groups, [G].
    """
    if np.isnan(without).any():
        return Interval(reason="without one of its units it has no value")
    error, freedom = model_error(jackknife_errors(without))
    if not error > ROUNDING:
        return Interval(reason="it is the same without any of the units, which tells nothing about others")
    low, high = scale.ends
    inside = np.clip(without, value - NEAREST * (value - low), value + NEAREST * (high - value))
    error, _ = model_error(jackknife_errors(scale.transform(inside)))
    half = stats.t.ppf((1 + LEVEL) / 2, freedom) * error
    low, high = scale.inverse(scale.transform(value) + half * np.array([-1, 1]))
    return Interval(float(low), float(high), scale.method)


def jackknife_errors(without: np.ndarray) -> np.ndarray:
    """Compute the errors of `jackknife` from the scores without each unit: both [..., G]."""
    count = without.shape[-1]
    return np.sqrt((count - 1) / count) * (without - without.mean(axis=-1, keepdims=True))


def model_error(errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the standard error over units and its degrees of freedom, [...], from the jackknife's errors [..., G].

    The degrees of freedom are 2 variance^2 / variance of the variance (Satterthwaite 1946), the latter from the fourth
    moment: 2 G / (kurtosis - 1), and G - 1 at most. So the interval is wider with a few large units, or with few units
    in which two sides differ.
    """
    count = errors.shape[-1]
    variance = (errors**2).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        kurtosis = count * (errors**4).sum(axis=-1) / variance**2
        return np.sqrt(variance), np.clip(2 * count / (kurtosis - 1), 1, max(count - 1, 1))


def share_interval(part: np.ndarray, whole: np.ndarray, counts: np.ndarray) -> Interval:
    """Compute the interval of a share of scans, `part.sum() / whole.sum()`.

    - If it is 0 or 1: exact (Clopper & Pearson 1934) at `effective_groups`, since the data do not show how much the
      scans of a group differ.
    - With fewer than 400 effective groups, or above 0.95, or below 0.05: Wilson's (1927) at the effective number of
      scans, see `_wilson` (Franco, Little, Louis & Slud 2019, Journal of Survey Statistics and Methodology 7).
    - Else the percentiles of the bootstrap over groups.

    Args:
        part, whole: numbers of scans in each group, [G]; groups where `whole` is 0 don't count.
        counts: how often each group is drawn in every resample, [R, G].
    """
    drawn = whole > 0
    part, whole = part[drawn], whole[drawn]
    if len(whole) == 0:
        return Interval(reason="there is no scan to count")
    share, size = part.sum() / whole.sum(), effective_groups(whole)
    tail = (1 - LEVEL) / 2
    if share == 0:
        return Interval(0.0, float(stats.beta.ppf(1 - tail, 1, size)), "exact")
    if share == 1:
        return Interval(float(stats.beta.ppf(tail, size, 1)), 1.0, "exact")
    if len(whole) == 1:
        return Interval(reason="one distinct scan alone tells nothing about others")
    if size >= FEW_GROUPS and 1 - NEAR_ONE <= share <= NEAR_ONE:
        return percentile_interval((counts[:, drawn] @ part) / (counts[:, drawn] @ whole))
    return _wilson(part, whole, size)


def _wilson(part: np.ndarray, whole: np.ndarray, most: float) -> Interval:
    """Compute Wilson's interval at the effective number of scans, n / design effect, but at `most` that many.

    That number is reduced by the squared ratio of normal to t quantile, because the design effect is estimated from the
    groups (Korn & Graubard 1998, Survey Methodology 24).
    """
    groups, scans = len(whole), whole.sum()
    share = part.sum() / scans
    variance = groups / (groups - 1) * ((part - share * whole) ** 2).sum() / scans**2
    z = stats.norm.ppf((1 + LEVEL) / 2)
    size = share * (1 - share) / variance if variance > 0 else scans
    size = min(size * (z / stats.t.ppf((1 + LEVEL) / 2, groups - 1)) ** 2, most)
    middle = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * np.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    return Interval(float(max(0, middle - half)), float(min(1, middle + half)), "wilson")


class GroupBootstrap:
    """Resamples of N scans by their groups, drawn once and used for all scores.

    Args:
        groups: the group of each scan, of any type, [N]; usually `Predictions.unit`. A group is drawn as a whole.

    Attributes:
        numbers: the groups, numbered from 0: int [N].
        counts: how often each of the G groups is drawn in each of R resamples, float64 [R, G].
    """

    def __init__(self, groups: np.ndarray):
        self.numbers = np.unique(groups, return_inverse=True)[1]
        self.counts = resample_counts(self.numbers.max() + 1, RESAMPLES, SEED)

    def share(self, hits: np.ndarray, among: np.ndarray) -> Estimate:
        """Estimate the share of `hits`, bool [N], among the scans `among`, bool [N]."""
        part, whole = (np.bincount(self.numbers, weights=which) for which in (hits & among, among))
        value = float(part.sum() / whole.sum()) if whole.any() else np.nan
        return Estimate(value, share_interval(part, whole, self.counts))

    def mean(self, values: np.ndarray, scale: Scale) -> Estimate:
        """Estimate the mean of `values`, float [N]."""
        sums, sizes = np.bincount(self.numbers, weights=values), np.bincount(self.numbers)
        value = float(values.mean())
        with np.errstate(invalid="ignore"):
            without = (sums.sum() - sums) / (sizes.sum() - sizes)
        return Estimate(value, jackknife_interval(value, without, scale))

    def weighted(self, score: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Compute a score of all scans, and without each of the groups: float64 [...] and [G, ...].

        `score` is a function of the weights of the scans, from float64 [R, N] to [R, ...].
        """
        groups = self.numbers.max() + 1
        kept = (np.arange(groups)[block, None] != self.numbers for block in _blocks(groups, len(self.numbers)))
        return score(np.ones((1, len(self.numbers))))[0], np.concatenate([score(block.astype(float)) for block in kept])

    def resampled(self, score: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Compute a score, as in `weighted`, of each of R resamples: float64 [R, ...]."""
        blocks = _blocks(len(self.counts), len(self.numbers))
        return np.concatenate([score(self.counts[block][:, self.numbers]) for block in blocks])

    def estimate(self, score: Callable[[np.ndarray], np.ndarray], scale: Scale) -> Estimate:
        """Estimate a score, as in `weighted`, that is one number."""
        value, without = self.weighted(score)
        return Estimate(float(value), jackknife_interval(float(value), without, scale))

    def means(self, scores: Sequence[Callable[[np.ndarray], np.ndarray]]) -> list[Estimate]:
        """Estimate the mean of several scores from 0 to 1, and then each of them."""
        values, without = self.weighted(lambda weights: np.stack([score(weights) for score in scores], axis=1))
        values, without = np.r_[values.mean(), values], np.c_[without.mean(axis=1), without]
        return list(map(Estimate, values.tolist(), map(jackknife_interval, values.tolist(), without.T, repeat(UNIT))))


def _blocks(rows: int, columns: int) -> list[np.ndarray]:
    """Divide the numbers of rows into blocks of about `BLOCK_VALUES` values or fewer."""
    return np.array_split(np.arange(rows), 1 + rows * columns // BLOCK_VALUES)


class ConfusionBootstrap:
    """Estimates of scores of predicted classes: the mean score of several runs over the same N scans.

    `weights`, float [N], are the weights of the scans.
    """

    def __init__(self, runs: Sequence[Predictions], weights: np.ndarray | float = 1.0):
        bootstrap = GroupBootstrap(runs[0].unit)
        self._counts = bootstrap.counts
        self._by_group = group_confusions(runs, bootstrap.numbers, weights)

    def estimate(self, score: Callable[..., np.ndarray], *arguments) -> Estimate:
        """Estimate a score of trueslice.evaluate.metrics that has one value for all classes together."""
        return self.estimates(score, *arguments)[0]

    def estimates(self, score: Callable[..., np.ndarray], *arguments) -> list[Estimate]:
        """Estimate a score that has a value for each class."""
        values = np.atleast_1d(score(self._by_group.sum(axis=1), *arguments).mean(axis=0))
        if isinstance(score, Share):
            part, whole = map(_by_class, score.counts(self._by_group, *arguments))
            intervals = map(share_interval, part, whole, repeat(self._counts))
        else:
            without = _by_class(score(self._by_group.sum(axis=1, keepdims=True) - self._by_group, *arguments))
            scale = SIGNED if score in (mcc, cohen_kappa) else UNIT
            intervals = map(jackknife_interval, values, without, repeat(scale))
        return list(map(Estimate, values.tolist(), intervals))


def _by_class(values: np.ndarray) -> np.ndarray:
    """Compute the mean over runs with a row for each class: [K, R] from [S, R, K], or [1, R] from [S, R]."""
    return np.atleast_2d(values.mean(axis=0).T)
