"""95 % intervals for scores on test scans, some of which may be of one patient, or copies of each other.

These scans are right or wrong together. So whole units, `Predictions.unit`, are drawn (the cluster bootstrap; Davison &
Hinkley 1997, section 3.8) or left out (the jackknife; Efron & Tibshirani 1993, chapter 11). Near the end of a scale the
data themselves seldom show how much other units could change a score. So `RULES` take each score for that of a number
of independent scans, its effective size, which the jackknife can make smaller and never larger.
research/simulations/ simulates how often intervals contain the true value; the rules follow from it.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import stdtrit

from trueslice.evaluate import metrics
from trueslice.tables.predictions import Predictions

LEVEL = 0.95
Z = float(stats.norm.ppf((1 + LEVEL) / 2))
RESAMPLES = 2000
SEED = 0  # the same predictions always have the same intervals
# With fewer groups, or a share nearer to 0 or 1, the percentile bootstrap of a share covers less than 95 %.
FEW_GROUPS = 400  # as `effective_size` counts them
NEAR_ONE = 0.95
# At least this share of the resamples must have a value; a resample without a class may have none.
MIN_DEFINED = 0.95
ROUNDING = 1e-12  # a number up to this size counts as 0
BLOCK_VALUES = 2**22  # weights of scans held at once


class Interval(NamedTuple):
    """A 95 % interval and how it was found, or the reason why there is none."""

    low: float | None = None
    high: float | None = None
    # `bootstrap`, `exact`, `wilson`, `newcombe`, `log_jackknife` or `t`
    method: str | None = None
    reason: str | None = None
    # Share of intervals that hold the true value in the worst simulated case, where it is below 0.93.
    covers: float | None = None


LIMITS = ("low", "high")
SHARE = (*LIMITS, "method", "reason")  # the fields of the interval of a share of scans that records keep


class Rule(NamedTuple):
    """The way to the interval of a score that is no share of scans."""

    method: str
    # Least correlation that two scans of a unit are taken to have, whatever the data show.
    correlation: float = 0.5
    ends: tuple[float, float] = (0, 1)  # of the score
    covers: float | None = None  # as in `Interval`


# Which score has which interval. All others are shares of scans: `share_interval`.
RULES = {
    "auroc": Rule("newcombe"),
    "average_precision": Rule("wilson"),
    "f1": Rule("wilson"),
    "macro_auroc": Rule("wilson"),
    "macro_average_precision": Rule("wilson", correlation=1),
    "macro_f1": Rule("wilson"),
    "macro_precision": Rule("wilson"),
    "balanced_accuracy": Rule("wilson"),
    "mcc": Rule("wilson", ends=(-1, 1)),
    "cohen_kappa": Rule("wilson", ends=(-1, 1)),
    "risk_coverage_area": Rule("wilson", correlation=1),
    "roc": Rule("wilson", correlation=1),
    "mean_share": Rule("wilson", correlation=1),
    "nll": Rule("log_jackknife", ends=(0, np.inf), covers=0.74),
    "brier": Rule("log_jackknife", ends=(0, 2), covers=0.79),
}


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


def effective_size(sizes: np.ndarray, correlation: float = 1.0) -> float:
    """Compute the number of independent scans that tell as much as the scans of G units.

    It is n / (1 + correlation (sum of sizes^2 / n - 1)), where n is the number of scans (Kish 1965, section 8.2). With
    a correlation of 1, all scans of a unit have one outcome: n^2 / sum of sizes^2, the number of effective units.

    Args:
        sizes: numbers of scans, [G], not all 0.
        correlation: of the outcomes of two scans of a unit.
    """
    scans = sizes.sum()
    return float(scans / (1 + correlation * ((sizes**2).sum() / scans - 1)))


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


def score_interval(score: str, value: float, without: np.ndarray, sizes: np.ndarray) -> Interval:
    """Compute the interval of a score by its rule in `RULES`.

    Args:
        without: the score without each of the units, [G].
        sizes: numbers of scans of each unit that the score counts, [G]; for AUROC of the class and of others, [2, G];
            for a loss in each class, [K, G].
    """
    if np.isnan(without).any():
        return Interval(reason="without one of its units it has no value")
    rule, errors = RULES[score], jackknife_errors(without)
    if rule.method == "newcombe":
        return _of_auroc(rule, value, errors, sizes)
    if rule.method == "log_jackknife":
        return _of_loss(rule, value, errors, sizes)
    (low, high), size = rule.ends, effective_size(sizes, rule.correlation)
    share, variance = (value - low) / (high - low), (errors**2).sum() / (high - low) ** 2
    size *= size_left(share * (1 - share) / size, variance, max(int(np.count_nonzero(sizes)) - 1, 1))
    from_zero, to_one = wilson_interval(share, size)
    return Interval(low + (high - low) * from_zero, low + (high - low) * to_one, "wilson")


def size_left(expected: float, variance: float, freedom: float) -> float:
    """Compute the share of an effective size that the data leave, if their `variance` is larger than `expected`.

    An interval at what is left is about as wide as one from the variance and Student's t with `freedom` degrees of
    freedom, because the variance is estimated (Korn & Graubard 1998, Survey Methodology 24). It is 1 at most: that the
    units of a sample agree does not show that others do.
    """
    if not expected > 0 or not variance > 0:
        return 1.0
    return float(min(1, expected / variance * (Z / t_quantile(freedom)) ** 2))


def t_quantile(freedom: float) -> float:
    """Compute by how many standard errors an interval extends on each side, by Student's t."""
    return float(stdtrit(freedom, (1 + LEVEL) / 2))  # much faster than scipy.stats


def wilson_interval(share: float, size: float) -> tuple[float, float]:
    """Compute Wilson's interval (1927) of a share of independent scans: all p within z standard errors at p."""
    middle = (share + Z**2 / (2 * size)) / (1 + Z**2 / size)
    half = Z / (1 + Z**2 / size) * np.sqrt(share * (1 - share) / size + Z**2 / (4 * size**2))
    return float(np.clip(middle - half, 0, share)), float(np.clip(middle + half, share, 1))


def newcombe_interval(auroc: float, positives: float, negatives: float) -> tuple[float, float]:
    """Compute Newcombe's interval (2006, method 5) of an AUROC: all A within z standard errors at A, as Wilson's.

    Newcombe, Statistics in Medicine 25, 559-573. `positives` and `negatives` are numbers of independent scans.
    """

    def beyond(area: float) -> float:
        return abs(area - auroc) - Z * np.sqrt(auroc_variance(area, positives, negatives))

    inside = float(np.clip(auroc, ROUNDING, 1 - ROUNDING))  # at 0 and 1 the variance is 0
    low = float(brentq(beyond, 0, inside)) if auroc > 0 else 0.0
    return low, float(brentq(beyond, inside, 1)) if auroc < 1 else 1.0


def auroc_variance(auroc: float, positives: float, negatives: float) -> float:
    """Compute the variance of an AUROC from m positive and n negative independent scans (Hanley & McNeil 1982).

    With both numbers replaced by their mean in the last factor (Newcombe 2006, method 5), it is

        A (1 - A) / (m n) (1 + ((m + n) / 2 - 1) ((1 - A) / (2 - A) + A / (1 + A)))
    """
    more = max(0, (positives + negatives) / 2 - 1)
    pairs = (1 - auroc) / (2 - auroc) + auroc / (1 + auroc)
    return auroc * (1 - auroc) / (positives * negatives) * (1 + more * pairs)


def _of_auroc(rule: Rule, value: float, errors: np.ndarray, sides: np.ndarray) -> Interval:
    """Compute Newcombe's interval at effective sizes; the jackknife's errors are those of units (Obuchowski 1997).

    The degrees of freedom are Satterthwaite's, from the units that hold a scan of the class, and all others.
    """
    positives, negatives = (effective_size(side, rule.correlation) for side in sides)
    variance, of_class = (errors**2).sum(), (errors[sides[0] > 0] ** 2).sum()
    units = np.count_nonzero(sides, axis=1)
    with np.errstate(invalid="ignore"):
        freedom = variance**2 / (np.array([of_class, variance - of_class]) ** 2 / (units - 1)).sum()
    left = size_left(auroc_variance(value, positives, negatives), variance, freedom)
    return Interval(*newcombe_interval(value, left * positives, left * negatives), "newcombe")


def _of_loss(rule: Rule, value: float, errors: np.ndarray, classes: np.ndarray) -> Interval:
    """Compute the interval of a mean loss on the log scale: value exp(+-t error / value).

    The units of the rarest class give the degrees of freedom.
    """
    error, units = np.sqrt((errors**2).sum()), np.count_nonzero(classes, axis=1)
    if not error > ROUNDING:
        return Interval(reason="it is the same without any of the units, which tells nothing about others")
    half = t_quantile(max(int(units.min()) - 1, 1)) * error / value
    low, high = value * np.exp([-half, half])
    return Interval(float(low), float(min(high, rule.ends[1])), rule.method, covers=rule.covers)


def student_interval(value: float, error: float, freedom: float, lowest: float = -1, highest: float = 1) -> Interval:
    """Compute Student's t interval from a standard error and its degrees of freedom, cut at `lowest` and `highest`."""
    if not error > ROUNDING:
        return Interval(reason="none: all units say the same" if error <= ROUNDING else "none: too few units")
    half = t_quantile(freedom) * error
    return Interval(float(max(lowest, value - half)), float(min(highest, value + half)), "t")


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

    - If it is 0 or 1: exact (Clopper & Pearson 1934) at the effective units, since the data do not show how much the
      scans of a group differ.
    - With fewer than 400 effective units, or above 0.95, or below 0.05: Wilson's at the effective number of scans, but
      at most the effective units (Franco, Little, Louis & Slud 2019, Journal of Survey Statistics and Methodology 7).
    - Else the percentiles of the bootstrap over groups.

    Args:
        part, whole: numbers of scans in each group, [G]; groups where `whole` is 0 don't count.
        counts: how often each group is drawn in every resample, [R, G].
    """
    drawn = whole > 0
    part, whole = part[drawn], whole[drawn]
    if len(whole) == 0:
        return Interval(reason="there is no scan to count")
    share, size = part.sum() / whole.sum(), effective_size(whole)
    tail = (1 - LEVEL) / 2
    if share == 0:
        return Interval(0.0, float(stats.beta.ppf(1 - tail, 1, size)), "exact")
    if share == 1:
        return Interval(float(stats.beta.ppf(tail, size, 1)), 1.0, "exact")
    if len(whole) == 1:
        return Interval(reason="one distinct scan alone tells nothing about others")
    if size >= FEW_GROUPS and 1 - NEAR_ONE <= share <= NEAR_ONE:
        return percentile_interval((counts[:, drawn] @ part) / (counts[:, drawn] @ whole))
    groups = len(whole)
    variance = groups / (groups - 1) * ((part - share * whole) ** 2).sum() / whole.sum() ** 2
    left = size_left(share * (1 - share) / size, variance, groups - 1)
    return Interval(*wilson_interval(share, size * left), "wilson")


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

    def mean(self, values: np.ndarray) -> Estimate:
        """Estimate the mean of `values`, float [N], from 0 to 1."""
        value, without = self._means(values)
        return Estimate(value, score_interval("mean_share", value, without, self.sizes(np.ones(len(values)))))

    def loss(self, score: str, values: np.ndarray, y_true: np.ndarray) -> Estimate:
        """Estimate the mean of losses, float [N], of scans of the classes `y_true`, int [N]."""
        value, without = self._means(values)
        classes = np.array([self.sizes(y_true == index) for index in np.unique(y_true)])
        return Estimate(value, score_interval(score, value, without, classes))

    def difference(self, values: np.ndarray, lowest: float = -np.inf, highest: float = np.inf) -> Estimate:
        """Estimate the mean of paired differences, float [N], from `lowest` to `highest`."""
        value, without = self._means(values)
        error, freedom = map(float, model_error(jackknife_errors(without)))
        return Estimate(value, student_interval(value, error, freedom, lowest, highest))

    def _means(self, values: np.ndarray) -> tuple[float, np.ndarray]:
        """Compute the mean of all scans, and without each of the groups: float64 [G]."""
        sums, sizes = self.sizes(values), np.bincount(self.numbers)
        with np.errstate(invalid="ignore"):
            return float(values.mean()), (sums.sum() - sums) / (sizes.sum() - sizes)

    def sizes(self, weights: np.ndarray) -> np.ndarray:
        """Sum weights of scans, [N], over each of the groups: float64 [G]."""
        return np.bincount(self.numbers, weights=weights)

    def weighted(self, score: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Compute a score of all scans, and without each of the groups: float64 [...] and [G, ...].

        `score` is a function of the weights of the scans, from float64 [R, N] to [R, ...].
        """
        groups = self.numbers.max() + 1
        kept = (np.arange(groups)[block, None] != self.numbers for block in _blocks(groups, len(self.numbers)))
        return score(np.ones((1, len(self.numbers))))[0], np.concatenate([score(block.astype(float)) for block in kept])

    def estimate(self, metric: Callable[..., np.ndarray], which: np.ndarray, values: np.ndarray) -> Estimate:
        """Estimate a score of trueslice.evaluate.metrics of N scans, such as `auroc`.

        `which`, bool [N], and `values`, float [N], are the arguments of `metric`: scans of the class and probabilities,
        or wrong scans and confidences.
        """
        value, without = self.weighted(partial(metric, which, values))
        return self._estimate(metric.__name__, float(value), without, which)

    def ranking(self, metric: Callable[..., np.ndarray], of_class: np.ndarray, shares: np.ndarray) -> list[Estimate]:
        """Estimate the mean over K classes of `metric`, and then the score of each, as in `estimate`: both [N, K]."""
        scores = [partial(metric, *columns) for columns in zip(of_class.T, shares.T, strict=True)]
        values, without = self.weighted(lambda weights: np.stack([score(weights) for score in scores], axis=1))
        name = metric.__name__
        macro = self._estimate(f"macro_{name}", float(values.mean()), without.mean(axis=1), of_class[:, 0])
        return [macro, *map(self._estimate, repeat(name), values.tolist(), without.T, of_class.T)]

    def _estimate(self, score: str, value: float, without: np.ndarray, which: np.ndarray) -> Estimate:
        sides = np.array([self.sizes(which), self.sizes(~which)])
        counted = {"auroc": sides, "average_precision": sides[0]}.get(score, sides.sum(axis=0))
        return Estimate(value, score_interval(score, value, without, counted))


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
        if isinstance(score, metrics.Share):
            part, whole = map(_by_class, score.counts(self._by_group, *arguments))
            intervals = map(share_interval, part, whole, repeat(self._counts))
        else:
            without = _by_class(score(self._by_group.sum(axis=1, keepdims=True) - self._by_group, *arguments))
            # A score of a class counts the scans of the class and those predicted as it; any other counts all scans.
            both = (self._by_group.sum(axis=-1) + self._by_group.sum(axis=-2)) / 2
            sizes = _by_class(both if len(values) > 1 else both.sum(axis=-1))
            intervals = map(score_interval, repeat(score.__name__), values.tolist(), without, sizes)
        return list(map(Estimate, values.tolist(), intervals))


def _by_class(values: np.ndarray) -> np.ndarray:
    """Compute the mean over runs with a row for each class: [K, R] from [S, R, K], or [1, R] from [S, R]."""
    return np.atleast_2d(values.mean(axis=0).T)
