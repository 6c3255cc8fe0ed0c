"""Intervals and scores of resampled confusion matrices, against scikit-learn, scipy and slow, obvious code."""

import math
import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from tumorclip.evaluate import intervals

SCORES = {
    intervals.accuracy: metrics.accuracy_score,
    intervals.balanced_accuracy: metrics.balanced_accuracy_score,
    intervals.macro_precision: lambda a, p: metrics.precision_score(a, p, average="macro"),
    intervals.macro_f1: lambda a, p: metrics.f1_score(a, p, average="macro"),
    intervals.matthews: metrics.matthews_corrcoef,
    intervals.cohen_kappa: metrics.cohen_kappa_score,
}


def example(seed: int, scans: int = 60, classes: int = 4):
    random = np.random.default_rng(seed)
    actual = random.permutation(np.arange(scans) % classes)
    predicted = np.where(random.random(scans) < 0.6, actual, random.permutation(np.arange(scans) % classes))
    return actual, predicted, random.integers(0, scans // 2, scans)


@pytest.mark.parametrize("mine", SCORES, ids=lambda score: score.__name__)
@pytest.mark.parametrize("seed", range(5))
def test_every_resample_scores_as_scikit_learn_has_it(mine, seed):
    actual, predicted, groups = example(seed)
    names, numbers = np.unique(groups, return_inverse=True)
    counts = intervals.resample_counts(len(names), 20, seed)
    confusions = intervals.group_confusions(actual, predicted, groups, 4)
    values = mine(intervals.resample_confusions(confusions, counts))
    for drawn, value in zip(counts.astype(int), values, strict=True):
        scans = np.repeat(np.arange(len(actual)), drawn[numbers])
        if len(np.unique(actual[scans])) == len(np.unique(predicted[scans])) == 4:
            assert value == pytest.approx(SCORES[mine](actual[scans], predicted[scans]), abs=1e-9)


def test_what_has_no_value_is_nan_and_warns_nobody():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        never_predicted = intervals.group_confusions(np.array([0, 1]), np.array([0, 0]), np.array([5, 9]), 2)
        whole = never_predicted.sum(axis=0)
        assert np.isnan(intervals.macro_precision(whole))
        assert intervals.f1(whole).tolist() == [2 / 3, 0]
        assert np.isnan(intervals.matthews(whole))
        assert np.isnan(intervals.balanced_accuracy(np.array([[3.0, 0], [0, 0]])))
        assert np.isnan(intervals.cohen_kappa(np.array([[3.0, 0], [0, 0]])))
        assert np.isnan(intervals.accuracy(np.zeros((2, 2))))


def test_resamples_draw_as_many_groups_as_there_are_and_repeat_with_the_seed():
    counts = intervals.resample_counts(7, 500, seed=3)
    assert (counts.sum(axis=1) == 7).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(7), abs=0.2)
    assert (counts == intervals.resample_counts(7, 500, seed=3)).all()
    assert (counts != intervals.resample_counts(7, 500, seed=4)).any()


@pytest.mark.parametrize("groups", [1, 3, 17, 500])
@pytest.mark.parametrize("right", [True, False])
def test_all_right_and_all_wrong_have_the_exact_interval_over_groups(groups, right):
    trials = np.full(groups, 3)
    found = intervals.proportion_interval(trials * right, trials, np.full(9, float(right)))
    exact = stats.binomtest(groups * right, groups).proportion_ci(method="exact")
    assert found.method == "exact"
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


@pytest.mark.parametrize(("scans", "right"), [(40, 30), (150, 149), (1000, 980), (1000, 20)])
def test_single_scans_have_wilsons_interval_but_for_the_degrees_of_freedom(scans, right):
    successes = (np.arange(scans) < right).astype(int)
    found = intervals.proportion_interval(successes, np.ones(scans), np.empty(0))
    ratio = (stats.norm.ppf(0.975) / stats.t.ppf(0.975, scans - 1)) ** 2
    # The variance over n - 1 instead of n makes the sample smaller by just that share.
    wilson = _wilson_by_solving(right / scans, (scans - 1) * ratio)
    assert found.method == "wilson"
    assert (found.low, found.high) == pytest.approx(wilson, abs=1e-9)
    plain = stats.binomtest(right, scans).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.02)


def _wilson_by_solving(share: float, size: float) -> tuple[float, float]:
    """Both p for which |share - p| is just z standard errors at p: the roots of a quadratic."""
    z = stats.norm.ppf(0.975)
    low, high = np.sort(np.roots([1 + z**2 / size, -(2 * share + z**2 / size), share**2]))
    return low, high


def test_copies_widen_the_interval_as_if_they_were_not_there():
    random = np.random.default_rng(0)
    right = (random.random(100) < 0.8).astype(int)
    alone = intervals.proportion_interval(right, np.ones(100), np.empty(0))
    tenfold = intervals.proportion_interval(10 * right, np.full(100, 10), np.empty(0))
    assert tenfold == alone


def test_many_groups_in_the_middle_have_percentiles():
    values = np.linspace(0.7, 0.9, 2001)
    found = intervals.proportion_interval(np.arange(400) < 320, np.ones(400), values)
    assert found.method == "bootstrap"
    assert (found.low, found.high) == pytest.approx((0.705, 0.895))


def test_nothing_to_count_and_one_group_in_two_minds_have_a_reason_instead():
    none = intervals.proportion_interval(np.zeros(3), np.zeros(3), np.full(5, math.nan))
    one = intervals.proportion_interval(np.array([1]), np.array([2]), np.full(5, 0.5))
    for found in (none, one):
        assert found[:3] == (None, None, None)
        assert found.reason
    assert intervals.percentile_interval(np.array([0.5, math.nan])).reason


@pytest.mark.filterwarnings("error")
def test_every_bin_has_the_share_and_interval_of_its_own_scans():
    groups, hits = np.array([0, 0, 1, 2, 2, 3]), np.array([True, True, False, True, False, True])
    bootstrap = intervals.GroupBootstrap(groups)
    first, second, empty = bootstrap.within(np.array([0, 0, 0, 1, 1, 1]), 3, hits)
    assert (first.scans, first.distinct, first.share) == (3, 2, 2 / 3)
    assert (second.scans, second.distinct, second.share) == (3, 2, 2 / 3)
    assert first.interval == bootstrap.proportion(hits, np.arange(6) < 3)
    assert second.interval != first.interval
    assert (empty.scans, empty.distinct, empty.share, empty.interval.low) == (0, 0, None, None)
    assert empty.interval.reason == "there is no scan to count"
