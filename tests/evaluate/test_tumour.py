"""Tumour against healthy, by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from tests.made import table
from trueslice.evaluate import tumour
from trueslice.evaluate.intervals import GroupBootstrap
from trueslice.params import Evaluate
from trueslice.records.tumour import AtThreshold


def of(y_true, of_tumour, **columns):
    """Two classes, of which the second is negative."""
    return table(
        y_true, np.stack([of_tumour, 1 - np.asarray(of_tumour)], axis=1), class_names=("ill", "well"), **columns
    )


def example(seed: int, scans: int = 400):
    random = np.random.default_rng(seed)
    y_true = random.integers(0, 2, scans)
    return of(y_true, 1 / (1 + np.exp(-random.normal(np.where(y_true == 0, 1.5, -1.5), 1.5))))


@pytest.mark.parametrize(("sensitivity", "found"), [(0.95, 19), (0.951, 20), (0.5, 10), (0.01, 1)])
def test_the_threshold_is_the_highest_that_finds_so_many_tumours(sensitivity, found):
    validation = of(np.r_[np.zeros(20), np.ones(5)], np.r_[np.linspace(1, 0.05, 20), np.full(5, 0.5)])
    threshold = tumour.threshold(validation, 1, sensitivity)
    called = tumour.probability(validation, 1)[:20] >= threshold
    assert called.sum() == found
    assert threshold in tumour.probability(validation, 1)[:20]


def test_there_is_no_threshold_without_a_tumour_in_validation():
    healthy = of([1, 1], [0.2, 0.3])
    assert tumour.threshold(healthy, 1, 0.95) is None
    predictions = example(0)
    params = Evaluate(negative_class="well", by=[], sensitivities=[0.95], prevalences=[0.1], max_error=None)
    found = tumour.score(predictions, healthy, 1, params, GroupBootstrap(predictions.unit))
    assert found.operating_points == found.predictive_values == []


def test_thresholds_come_from_validation_and_scores_from_the_test_set():
    predictions, validation = example(0), example(1)
    params = Evaluate(negative_class="well", by=[], sensitivities=[0.8, 0.95], prevalences=[0.01, 0.3], max_error=None)
    found = tumour.score(predictions, validation, 1, params, GroupBootstrap(predictions.unit))
    scores, ill = tumour.probability(predictions, 1), predictions.y_true == 0
    for row, target in zip(found.operating_points, (0.8, 0.95), strict=True):
        assert row.target == target
        assert row.threshold == tumour.threshold(validation, 1, target)
        assert row.sensitivity == np.mean(scores[ill] >= row.threshold)
        assert row.specificity == np.mean(scores[~ill] < row.threshold)
        assert row.sensitivity_low < row.sensitivity < row.sensitivity_high
        assert row.specificity_low < row.specificity < row.specificity_high
    assert [(row.target, row.prevalence) for row in found.predictive_values] == [
        (0.8, 0.01), (0.8, 0.3), (0.95, 0.01), (0.95, 0.3),
    ]  # fmt: skip
    assert found.auroc == pytest.approx(metrics.roc_auc_score(ill, scores), abs=1e-9)
    assert found.low < found.auroc < found.high


def test_predictive_values_are_those_of_as_many_ill_and_healthy_people():
    low, high = {"sensitivity_low": 0.8, "specificity_low": 0.7}, {"sensitivity_high": 0.95, "specificity_high": 0.85}
    point = AtThreshold(target=0.9, threshold=0.5, sensitivity=0.9, specificity=0.8, **low, **high)
    # Of 1,000 people 100 are ill: 90 of them and 180 others are called ill.
    found = tumour.predictive_values(point, 0.1)
    assert (found.ppv, found.npv) == pytest.approx((90 / 270, 720 / 730))
    assert (found.ppv_low, found.npv_high) == pytest.approx((80 / (80 + 270), 765 / (765 + 5)))
    same = dict.fromkeys(AtThreshold.model_fields, 1.0)
    nobody = tumour.predictive_values(AtThreshold(**same | {"sensitivity": 0.0}), 0.1)
    assert (nobody.ppv, nobody.npv, nobody.ppv_low) == (None, pytest.approx(0.9), 1)
    unknown = tumour.predictive_values(point.model_copy(update={"sensitivity": None, "specificity": None}), 0.1)
    assert (unknown.ppv, unknown.npv) == (None, None) and unknown.ppv_low is not None


def test_the_roc_band_holds_the_curve_and_copies_do_not_narrow_it():
    predictions = example(2, 150)
    twice = predictions.take(np.repeat(np.arange(150), 4))
    params = Evaluate(negative_class="well", by=[], sensitivities=[], prevalences=[], max_error=None)
    one, four = (tumour.score(each, each, 1, params, GroupBootstrap(each.unit)).roc for each in (predictions, twice))
    alarms, found, _ = metrics.roc_curve(predictions.y_true == 0, tumour.probability(predictions, 1))
    assert [row.false_alarms for row in one] == tumour.FALSE_ALARMS.tolist()
    for row, again in zip(one, four, strict=True):
        assert row.sensitivity == pytest.approx(np.interp(row.false_alarms, alarms, found), abs=1e-9)
        assert row.low <= row.sensitivity <= row.high
        assert dict(again) == pytest.approx(dict(row), abs=1e-9)
    assert one[5].high - one[5].low > 0.05
    # None of n healthy scans is like a tumour: with 3 / n false alarms that is luck in one of twenty cases.
    least = 3 / (predictions.y_true == 1).sum()
    assert [row.low == 0 for row in one] == [row.false_alarms < least for row in one]


def test_without_healthy_scans_there_is_a_sensitivity_and_no_curve():
    ill = of(np.zeros(30), np.linspace(0.2, 0.9, 30))
    params = Evaluate(negative_class="well", by=[], sensitivities=[0.5], prevalences=[0.1], max_error=None)
    found = tumour.score(ill, ill, 1, params, GroupBootstrap(ill.unit))
    assert (found.auroc, found.low, found.roc) == (None, None, [])
    assert (found.operating_points[0].sensitivity, found.operating_points[0].specificity) == (0.5, None)
    assert found.predictive_values[0].ppv is None
