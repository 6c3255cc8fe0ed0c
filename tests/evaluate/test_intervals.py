"""Intervals against scipy and against slow, obvious code."""

import math

import numpy as np
import pytest
from made import one_hot, table
from scipy import stats

from tumorclip.evaluate import intervals, metrics


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
    found = intervals.share_interval(trials * right, trials, np.full(9, float(right)))
    exact = stats.binomtest(groups * right, groups).proportion_ci(method="exact")
    assert found.method == "exact"
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


@pytest.mark.parametrize(("scans", "right"), [(40, 30), (150, 149), (1000, 980), (1000, 20)])
def test_single_scans_have_wilsons_interval_but_for_the_degrees_of_freedom(scans, right):
    successes = (np.arange(scans) < right).astype(int)
    found = intervals.share_interval(successes, np.ones(scans), np.empty(0))
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
    alone = intervals.share_interval(right, np.ones(100), np.empty(0))
    tenfold = intervals.share_interval(10 * right, np.full(100, 10), np.empty(0))
    assert tenfold == alone


def test_many_groups_in_the_middle_have_percentiles():
    values = np.linspace(0.7, 0.9, 2001)
    found = intervals.share_interval(np.arange(400) < 320, np.ones(400), values)
    assert found.method == "bootstrap"
    assert (found.low, found.high) == pytest.approx((0.705, 0.895))


def test_nothing_to_count_and_one_group_in_two_minds_have_a_reason_instead():
    none = intervals.share_interval(np.zeros(3), np.zeros(3), np.full(5, math.nan))
    one = intervals.share_interval(np.array([1]), np.array([2]), np.full(5, 0.5))
    for found in (none, one):
        assert found[:3] == (None, None, None)
        assert found.reason
    assert intervals.percentile_interval(np.array([0.5, math.nan])).reason


@pytest.mark.filterwarnings("error")
def test_a_share_counts_the_scans_among_which_it_is_asked_for():
    groups, hits = np.array([0, 0, 1, 2, 2, 3]), np.array([True, True, False, True, False, True])
    bootstrap = intervals.GroupBootstrap(groups)
    first = bootstrap.share(hits, np.arange(6) < 3)
    second = bootstrap.share(hits, np.arange(6) >= 3)
    empty = bootstrap.share(hits, np.zeros(6, bool))
    assert (first.value, second.value) == (2 / 3, 2 / 3)
    assert second.interval != first.interval
    assert np.isnan(empty.value) and empty.interval.low is None
    assert empty.interval.reason == "there is no scan to count"


def example(seed: int):
    """Three runs over the same scans of which some are copies."""
    random = np.random.default_rng(seed)
    y_true, groups = random.integers(0, 3, 90), random.integers(0, 40, 90)
    y_pred = [np.where(random.random(90) < 0.7, y_true, random.integers(0, 3, 90)) for _ in range(3)]
    return [table(y_true, one_hot(each, 3), groups) for each in y_pred]


@pytest.mark.parametrize("seed", range(3))
def test_a_share_of_confusion_counts_has_the_interval_of_the_scans_it_counts(seed):
    run, *_ = example(seed)
    y_true, y_pred = run.y_true, run.y_pred
    bootstrap = intervals.GroupBootstrap(run.group)
    found = intervals.ConfusionBootstrap([run])
    assert found.estimate(metrics.accuracy) == bootstrap.share(y_pred == y_true, np.ones(90, bool))
    assert found.estimate(metrics.missed_tumours, 1) == bootstrap.share(y_pred == 1, y_true != 1)
    for index in range(3):
        own, called = y_true == index, y_pred == index
        for score, hits, among in (
            (metrics.recall, called, own),
            (metrics.precision, own, called),
            (metrics.specificity, ~called, ~own),
            (metrics.npv, ~own, ~called),
        ):
            assert found.estimates(score)[index] == bootstrap.share(hits, among)


def test_other_scores_have_the_percentiles_of_their_resamples():
    run, *_ = example(0)
    bootstrap = intervals.GroupBootstrap(run.group)
    (estimate,) = intervals.ConfusionBootstrap([run]).estimates(metrics.macro_f1)
    values = []
    for drawn in bootstrap.counts.astype(int):
        scans = np.repeat(np.arange(90), drawn[bootstrap.numbers])
        confusion = np.zeros((3, 3))
        np.add.at(confusion, (run.y_true[scans], run.y_pred[scans]), 1)
        values.append(metrics.macro_f1(confusion))
    assert estimate.interval[:2] == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=1e-12)


def test_several_runs_count_by_their_mean():
    runs = example(1)
    together = intervals.ConfusionBootstrap(runs)
    alone = [intervals.ConfusionBootstrap([run]) for run in runs]
    for score in (metrics.accuracy, metrics.macro_f1, metrics.mcc):
        mean = np.mean([each.estimate(score).value for each in alone])
        assert together.estimate(score).value == pytest.approx(mean, abs=1e-12)
    assert together.estimate(metrics.accuracy).interval.low < together.estimate(metrics.accuracy).value


def test_weights_of_scans_are_those_of_their_groups_in_blocks_of_any_size(monkeypatch):
    run, *_ = example(2)
    bootstrap = intervals.GroupBootstrap(run.group)
    monkeypatch.setattr(intervals, "BLOCK_VALUES", 7 * 90)
    values = [run.y_true, run.y_true**2]
    found = bootstrap.weighted([lambda weights, each=each: weights @ each / weights.sum(axis=1) for each in values])
    for estimate, each in zip(found, [np.mean(values, axis=0), *values], strict=True):
        expected = bootstrap.mean(each.astype(float))
        assert estimate.value == pytest.approx(expected.value, abs=1e-12)
        assert estimate.interval[:2] == pytest.approx(expected.interval[:2], abs=1e-12)
