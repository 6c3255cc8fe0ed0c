"""Intervals against scipy and against slow, obvious code."""

import math

import numpy as np
import pytest
from scipy import stats

from tests.made import one_hot, table
from trueslice.evaluate import intervals, metrics

NO_COUNTS = np.empty((0, 0))  # where no resample is looked at


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
    found = intervals.share_interval(trials * right, trials, NO_COUNTS)
    exact = stats.binomtest(groups * right, groups).proportion_ci(method="exact")
    assert found.method == "exact"
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


@pytest.mark.parametrize(("scans", "right"), [(40, 30), (150, 149), (1000, 980), (1000, 20)])
def test_single_scans_have_wilsons_interval_but_for_the_degrees_of_freedom(scans, right):
    successes = (np.arange(scans) < right).astype(int)
    found = intervals.share_interval(successes, np.ones(scans), NO_COUNTS)
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
    alone = intervals.share_interval(right, np.ones(100), NO_COUNTS)
    tenfold = intervals.share_interval(10 * right, np.full(100, 10), NO_COUNTS)
    assert tenfold == alone


def test_groups_of_unequal_size_count_as_fewer_equal_ones():
    assert intervals.effective_size(np.full(7, 3)) == pytest.approx(7)
    assert intervals.effective_size(np.array([10, 1, 1])) == pytest.approx(144 / 102)
    assert intervals.effective_size(np.array([10, 1, 1]), correlation=0) == 12
    # One large group and twenty single scans: nothing tells whether its scans, half of them right, have one outcome.
    part, whole = np.r_[10, np.ones(10), np.zeros(10)], np.r_[20, np.ones(20)]
    found = intervals.share_interval(part, whole, NO_COUNTS)
    size = 40**2 / (20**2 + 20)
    assert (found.low, found.high) == pytest.approx(_wilson_by_solving(0.5, size), abs=1e-9)
    all_right = intervals.share_interval(whole, whole, NO_COUNTS)
    assert all_right.low == pytest.approx(0.025 ** (1 / size))


def test_many_groups_in_the_middle_have_percentiles():
    right, counts = (np.arange(400) < 320).astype(float), intervals.resample_counts(400, 500, seed=1)
    found = intervals.share_interval(right, np.ones(400), counts)
    assert found.method == "bootstrap"
    assert (found.low, found.high) == pytest.approx(np.percentile(counts @ right / 400, [2.5, 97.5]), abs=1e-12)
    assert intervals.share_interval(right[1:], np.ones(399), counts[:, 1:]).method == "wilson"


def test_nothing_to_count_and_one_group_in_two_minds_have_a_reason_instead():
    none = intervals.share_interval(np.zeros(3), np.zeros(3), NO_COUNTS)
    one = intervals.share_interval(np.array([1]), np.array([2]), NO_COUNTS)
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
    bootstrap = intervals.GroupBootstrap(run.unit)
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


def test_other_scores_have_wilsons_interval_at_an_effective_size():
    run, *_ = example(0)
    units, y_true, y_pred = run.unit, run.y_true, run.y_pred
    names, sizes = np.unique(units, return_counts=True)
    for score, lowest in ((metrics.macro_f1, 0), (metrics.mcc, -1), (metrics.cohen_kappa, -1)):
        estimate = intervals.ConfusionBootstrap([run]).estimate(score)
        value = float(score(_confusion(y_true, y_pred)))
        without = np.array([float(score(_confusion(y_true[units != name], y_pred[units != name]))) for name in names])
        variance = (len(names) - 1) / len(names) * ((without - without.mean()) ** 2).sum() / (1 - lowest) ** 2
        share = (value - lowest) / (1 - lowest)
        most = len(units) / (1 + 0.5 * ((sizes**2).sum() / len(units) - 1))
        ratio = (stats.norm.ppf(0.975) / stats.t.ppf(0.975, len(names) - 1)) ** 2
        ends = _wilson_by_solving(share, min(most, share * (1 - share) / variance * ratio))
        assert estimate.value == pytest.approx(value)
        assert estimate.interval[:2] == pytest.approx([lowest + (1 - lowest) * end for end in ends], abs=1e-9)
        assert estimate.interval.method == "wilson"


def _confusion(y_true, y_pred) -> np.ndarray:
    counts = np.zeros((3, 3))
    np.add.at(counts, (y_true, y_pred), 1)
    return counts


def test_a_score_at_the_end_of_its_range_has_the_interval_of_its_effective_size():
    y_true = np.repeat([0, 1], 50)
    found = intervals.ConfusionBootstrap([table(y_true, one_hot(y_true, 2))])
    assert found.estimate(metrics.macro_f1).interval[:2] == pytest.approx(_wilson_by_solving(1, 100))
    assert found.estimate(metrics.mcc).interval[:2] == pytest.approx([2 * _wilson_by_solving(1, 100)[0] - 1, 1])
    # Of a class only its 50 scans count.
    assert found.estimates(metrics.f1)[0].interval[:2] == pytest.approx(_wilson_by_solving(1, 50))
    bootstrap, one_of_two = intervals.GroupBootstrap(np.arange(100)), one_hot(y_true, 2)
    macro, first, _ = bootstrap.ranking(metrics.average_precision, one_of_two > 0, one_of_two)
    assert macro.interval[:2] == pytest.approx(_wilson_by_solving(1, 100))
    assert first.interval[:2] == pytest.approx(_wilson_by_solving(1, 50))
    # None of the scans is wrong.
    risk = bootstrap.estimate(metrics.risk_coverage_area, np.zeros(100, bool), np.linspace(0.5, 1, 100))
    assert risk.interval[:2] == pytest.approx(_wilson_by_solving(0, 100))
    alone = table([0, 0, 1], one_hot([0, 1, 1], 2), [0, 1, 2])
    assert "without one of its units" in intervals.ConfusionBootstrap([alone]).estimate(metrics.mcc).interval.reason


def test_newcombes_interval_ends_where_the_value_is_two_standard_errors_away():
    def variance(area: float, m: float, n: float) -> float:
        # Hanley and McNeil's formula as they write it, with (m + n) / 2 for m and n (Newcombe 2006).
        q1, q2, mean = area / (2 - area), 2 * area**2 / (1 + area), (m + n) / 2
        return (area * (1 - area) + (mean - 1) * (q1 - area**2) + (mean - 1) * (q2 - area**2)) / (m * n)

    # The example of Hanley and McNeil (1982): 51 abnormal and 58 normal scans, standard error 0.032.
    assert math.sqrt(intervals.auroc_variance(0.893, 51, 58)) == pytest.approx(0.032, abs=5e-4)
    for area, m, n in ((0.893, 51, 58), (0.6, 4, 9), (0.998, 30, 90), (1 / 3, 2.5, 3.5)):
        ends = intervals.newcombe_interval(area, m, n)
        for end in ends:
            assert abs(end - area) == pytest.approx(stats.norm.ppf(0.975) * math.sqrt(variance(end, m, n)), abs=1e-9)
        mirrored = intervals.newcombe_interval(1 - area, m, n)
        assert mirrored == pytest.approx((1 - ends[1], 1 - ends[0]), abs=1e-9)
        wider = intervals.newcombe_interval(area, m / 2, n / 2)
        assert wider[0] < ends[0] < area < ends[1] < wider[1]
    # One scan a side is right or wrong.
    assert intervals.newcombe_interval(1, 1, 1) == pytest.approx(_wilson_by_solving(1, 1), abs=1e-9)


@pytest.mark.parametrize("value", [0, 1])
def test_an_auroc_of_0_or_1_has_an_interval_that_gets_narrower_with_more_units(value):
    widths = []
    for units in (8, 40, 200):
        positive = np.arange(units) % 4 == 0
        found = intervals.GroupBootstrap(np.arange(units)).estimate(
            metrics.auroc, positive, (positive == value).astype(float)
        )
        assert found.value == value in found.interval[:2] and found.interval.method == "newcombe"
        widths.append(found.interval.high - found.interval.low)
    assert 0.5 > widths[0] > 3 * widths[1] > 9 * widths[2] > 0


def test_one_unit_that_decides_an_auroc_widens_its_interval_and_not_absurdly():
    # Of 60 patients with 4 scans each the healthy scans of one look worse than any tumour.
    unit, random = np.repeat(np.arange(60), 4), np.random.default_rng(0)
    is_tumour, suspicion = unit < 30, np.where(unit < 30, 3, 0) + random.random(240)
    odd = np.where(unit == 59, 5, suspicion)
    spread = np.where((unit >= 30) & (np.arange(240) % 30 == 0), 5, suspicion)
    bootstrap = intervals.GroupBootstrap(unit)
    one, many, none = (bootstrap.estimate(metrics.auroc, is_tumour, each) for each in (odd, spread, suspicion))
    assert one.value == many.value == pytest.approx(29 / 30) and none.value == 1
    widths = [each.interval.high - each.interval.low for each in (one, many, none)]
    assert 0.3 > widths[0] > 1.3 * widths[1] and widths[0] > 1.3 * widths[2]


def test_a_loss_has_its_jackknife_on_the_log_scale_and_says_that_it_is_too_narrow():
    random = np.random.default_rng(0)
    losses, y_true = random.gamma(1, 1, 900), (np.arange(900) % 9 == 0).astype(int)
    bootstrap = intervals.GroupBootstrap(np.arange(900))
    interval = bootstrap.loss("nll", losses, y_true).interval
    half = stats.t.ppf(0.975, 99) * losses.std(ddof=1) / 30 / losses.mean()
    expected = losses.mean() * np.exp([-half, half])
    assert interval[:2] == pytest.approx(expected, rel=1e-3)
    assert (interval.method, interval.covers) == ("log_jackknife", intervals.RULES["nll"].covers)
    assert bootstrap.loss("nll", np.ones(900), y_true).interval.low is None
    few = intervals.GroupBootstrap(np.arange(4)).loss("brier", np.array([2, 2, 2, 0]), np.zeros(4))
    assert few.value == 1.5 and few.interval.high == 2


def test_a_difference_is_cut_at_the_ends_of_its_scale():
    bootstrap = intervals.GroupBootstrap(np.arange(4))
    free, cut = (bootstrap.difference(np.array([1, 1, 0.9, 0.2]), *ends) for ends in ((), (-1, 1)))
    assert free.interval.high > cut.interval.high == 1
    assert free.interval.low == cut.interval.low and cut.interval.method == "t"


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
    bootstrap = intervals.GroupBootstrap(run.unit)
    monkeypatch.setattr(intervals, "BLOCK_VALUES", 7 * 90)

    def mean(weights: np.ndarray) -> np.ndarray:
        return weights @ run.y_true / weights.sum(axis=1)

    value, without = bootstrap.weighted(mean)
    expected = [run.y_true[bootstrap.numbers != unit].mean() for unit in range(len(without))]
    assert value == pytest.approx(run.y_true.mean()) and without == pytest.approx(expected, abs=1e-12)


def test_scans_of_one_patient_are_drawn_together():
    right = np.random.default_rng(0).random(300) < 0.7
    y_pred = np.where(right, 0, 1)
    columns = [np.arange(300) // size for size in (1, 10)]
    runs = [table(np.zeros(300), one_hot(y_pred, 2), unit=unit) for unit in columns]
    same = table(np.zeros(300), one_hot(np.repeat(y_pred[::10], 10), 2), unit=columns[1])
    alone, mixed, together = (intervals.ConfusionBootstrap([run]).estimate(metrics.accuracy) for run in (*runs, same))
    width = [each.interval.high - each.interval.low for each in (alone, mixed, together)]
    # Nothing tells the second from the third but chance, so both count 30 patients at most.
    assert width[1] > 2.5 * width[0] and width[2] > 2.5 * width[0]
