"""Every score against scikit-learn, against definitions written out, and by hand."""

import warnings

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from tests.made import one_hot
from trueslice.evaluate import metrics

OVERALL = {
    metrics.accuracy: sklearn_metrics.accuracy_score,
    metrics.balanced_accuracy: sklearn_metrics.balanced_accuracy_score,
    metrics.macro_precision: lambda a, p: sklearn_metrics.precision_score(a, p, average="macro"),
    metrics.macro_f1: lambda a, p: sklearn_metrics.f1_score(a, p, average="macro"),
    metrics.mcc: sklearn_metrics.matthews_corrcoef,
    metrics.cohen_kappa: sklearn_metrics.cohen_kappa_score,
}
PER_CLASS = {
    metrics.recall: sklearn_metrics.recall_score,
    metrics.precision: sklearn_metrics.precision_score,
    metrics.f1: sklearn_metrics.f1_score,
}


def confusion(y_true: np.ndarray, y_pred: np.ndarray, classes: int) -> np.ndarray:
    return sklearn_metrics.confusion_matrix(y_true, y_pred, labels=range(classes))


@pytest.mark.parametrize("seed", range(20))
def test_random_predictions_score_as_scikit_learn_has_it(seed):
    random = np.random.default_rng(seed)
    count = int(random.integers(2, 12))
    # Every class once on both sides, so that scikit-learn has a value for everything.
    y_true = np.concatenate([np.arange(count), random.integers(0, count, 300)])
    y_pred = np.where(random.random(len(y_true)) < 0.7, y_true, random.integers(0, count, len(y_true)))
    y_pred[:count] = np.arange(count)
    counts = confusion(y_true, y_pred, count)
    for mine, theirs in OVERALL.items():
        assert mine(counts) == pytest.approx(theirs(y_true, y_pred), abs=1e-9)
    for mine, theirs in PER_CLASS.items():
        assert mine(counts) == pytest.approx(theirs(y_true, y_pred, average=None), abs=1e-9)
    for index in range(count):
        others, elsewhere = y_true != index, y_pred != index
        assert metrics.specificity(counts)[index] == pytest.approx(
            sklearn_metrics.recall_score(others, elsewhere), abs=1e-9
        )
        assert metrics.npv(counts)[index] == pytest.approx(sklearn_metrics.precision_score(others, elsewhere), abs=1e-9)
    assert metrics.missed_tumours(counts, 1) == pytest.approx(np.mean(y_pred[y_true != 1] == 1), abs=1e-9)
    assert metrics.false_alarms(counts, 1) == pytest.approx(np.mean(y_pred[y_true == 1] != 1), abs=1e-9)


@pytest.mark.parametrize("seed", range(30))
def test_absent_and_never_predicted_classes_are_nan_where_scikit_learn_has_no_value(seed):
    random = np.random.default_rng(seed)
    scans = int(random.integers(1, 8))
    y_true, y_pred = random.integers(0, 4, scans), random.integers(0, 4, scans)
    counts, known = confusion(y_true, y_pred, 4), {"labels": range(4), "average": None, "zero_division": np.nan}
    for mine, theirs in PER_CLASS.items():
        expected = theirs(y_true, y_pred, **known)
        assert mine(counts) == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert metrics.macro_f1(counts) == pytest.approx(
        np.mean(sklearn_metrics.f1_score(y_true, y_pred, **known)), abs=1e-9, nan_ok=True
    )
    assert metrics.accuracy(counts) == pytest.approx(sklearn_metrics.accuracy_score(y_true, y_pred), abs=1e-9)
    if len(set(y_true)) > 1 and len(set(y_pred)) > 1:
        assert metrics.mcc(counts) == pytest.approx(sklearn_metrics.matthews_corrcoef(y_true, y_pred), abs=1e-9)
    else:
        assert np.isnan(metrics.mcc(counts))
    if len({*y_true, *y_pred}) > 1:
        assert metrics.cohen_kappa(counts) == pytest.approx(sklearn_metrics.cohen_kappa_score(y_true, y_pred), abs=1e-9)
    else:
        assert np.isnan(metrics.cohen_kappa(counts))


def test_a_share_gives_part_and_whole_for_every_group():
    counts = np.array([[[2, 1], [0, 3]], [[0, 0], [4, 1]]])
    part, whole = metrics.recall.counts(counts)
    assert (part.tolist(), whole.tolist()) == ([[2, 3], [0, 1]], [[3, 3], [0, 5]])
    assert metrics.recall.__doc__.startswith("Sensitivity")


def test_what_has_no_value_is_nan_and_warns_nobody():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        never_predicted = confusion([0, 1], [0, 0], 2)
        assert np.isnan(metrics.macro_precision(never_predicted))
        assert metrics.f1(never_predicted).tolist() == [2 / 3, 0]
        assert np.isnan(metrics.mcc(never_predicted))
        one_scan = np.array([[1.0, 0], [0, 0]])
        assert np.isnan(metrics.balanced_accuracy(one_scan))
        assert np.isnan(metrics.cohen_kappa(one_scan))
        assert np.isnan(metrics.specificity(one_scan)[0]) and np.isnan(metrics.npv(one_scan)[0])
        assert np.isnan(metrics.missed_tumours(one_scan, 0)) and np.isnan(metrics.false_alarms(one_scan, 1))
        assert np.isnan(metrics.accuracy(np.zeros((2, 2))))


@pytest.mark.parametrize("seed", range(4))
def test_rankings_are_those_of_scikit_learn_with_and_without_weights(seed):
    random = np.random.default_rng(seed)
    positive = np.r_[True, False, random.random(58) < 0.3]
    scores = random.integers(0, 15, 60) / 15  # many ties
    weights = random.integers(0, 4, (30, 60)).astype(float)
    weights[:, :2] = 1
    weights[0] = 1
    areas, averages = (score(positive, scores, weights) for score in (metrics.auroc, metrics.average_precision))
    assert areas[0] == pytest.approx(sklearn_metrics.roc_auc_score(positive, scores), abs=1e-9)
    assert averages[0] == pytest.approx(sklearn_metrics.average_precision_score(positive, scores), abs=1e-9)
    for weight, area, average in zip(weights, areas, averages, strict=True):
        expected = sklearn_metrics.roc_auc_score(positive, scores, sample_weight=weight)
        assert area == pytest.approx(expected, abs=1e-9)
        expected = sklearn_metrics.average_precision_score(positive, scores, sample_weight=weight)
        assert average == pytest.approx(expected, abs=1e-9)


@pytest.mark.filterwarnings("error")
def test_a_ranking_of_one_side_has_no_area_and_without_the_class_no_precision():
    scores, weights = np.array([0.2, 0.2, 0.9]), np.array([[1.0, 1, 1], [0, 0, 0], [0, 0, 2]])
    assert np.isnan(metrics.auroc(np.ones(3, bool), scores, weights)).all()
    assert np.isnan(metrics.auroc(np.zeros(3, bool), scores, weights)).all()
    assert np.isnan(metrics.average_precision(np.zeros(3, bool), scores, weights)).all()
    average = metrics.average_precision(np.array([False, False, True]), scores, weights)
    assert average[[0, 2]].tolist() == [1, 1] and np.isnan(average[1])


@pytest.mark.parametrize("seed", range(5))
def test_scores_of_probabilities_agree_with_scikit_learn_and_with_the_definition_written_out(seed):
    random = np.random.default_rng(seed)
    probabilities, y_true = random.dirichlet(np.full(4, 0.5), 300), random.integers(0, 4, 300)
    nll, brier = metrics.nll(y_true, probabilities), metrics.brier(y_true, probabilities)
    assert nll.mean() == pytest.approx(sklearn_metrics.log_loss(y_true, probabilities, labels=range(4)), abs=1e-9)
    expected = sklearn_metrics.brier_score_loss(y_true, probabilities, labels=range(4), scale_by_half=False)
    assert brier.mean() == pytest.approx(expected, abs=1e-9)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == y_true
    total = 0.0
    for low in range(15):
        inside = [scan for scan, value in enumerate(confidence) if low / 15 < value <= (low + 1) / 15]
        if inside:
            total += len(inside) / 300 * abs(np.mean(correct[inside]) - np.mean(confidence[inside]))
    assert metrics.ece(confidence, correct) == pytest.approx(total, abs=1e-9)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("y_true", [[0], [1], [0, 0, 0], [1, 1, 0]])
def test_few_scans_certainty_and_ties_have_values(y_true):
    y_true = np.array(y_true)
    for probabilities in (one_hot(np.zeros(len(y_true)), 2), np.full((len(y_true), 2), 0.5)):
        assert np.isfinite(metrics.nll(y_true, probabilities)).all()
        assert (metrics.brier(y_true, probabilities) <= 2).all()
        assert 0 <= metrics.ece(probabilities.max(axis=1), probabilities.argmax(axis=1) == y_true) <= 1


def test_bins_of_confidence_hold_their_upper_edge():
    confidence = np.array([1e-9, 1 / 15, 1 / 15 + 1e-9, 14 / 15 + 1e-9, 1.0])
    assert metrics.confidence_bins(confidence).tolist() == [0, 0, 1, 14, 14]


@pytest.mark.parametrize("seed", range(3))
def test_the_roc_curve_is_that_of_scikit_learn_also_with_ties_and_weights(seed):
    random = np.random.default_rng(seed)
    positive, probability = random.random(50) < 0.4, random.integers(0, 9 if seed else 1000, 50) / 10
    weights = random.integers(1, 4, (2, 50)).astype(float)
    for row, alarms, found in zip(weights, *metrics.roc(positive, probability, weights), strict=True):
        curve = sklearn_metrics.roc_curve(positive, probability, sample_weight=row, drop_intermediate=False)
        assert (alarms, found) == (pytest.approx(curve[0], abs=1e-9), pytest.approx(curve[1], abs=1e-9))


def test_risk_and_coverage_by_hand():
    # From the surest on: right, wrong, then two of equal confidence of which one is right.
    wrong, confidence = np.array([True, False, True, False]), np.array([0.8, 0.9, 0.5, 0.5])
    coverage, risk = metrics.risk_coverage(wrong, confidence, np.ones((1, 4)))
    assert coverage.tolist() == [[0.25, 0.5, 1]]
    assert risk.tolist() == [[0, 0.5, 0.5]]
    assert metrics.risk_coverage_area(wrong, confidence, np.ones((1, 4))) == pytest.approx([0.25 * 0.5 + 0.5 * 0.5])
    assert metrics.risk_coverage_area(wrong & False, confidence, np.ones((1, 4))) == [0]
    twice = np.array([[1.0, 2, 0, 1]])
    again = metrics.risk_coverage_area(wrong[[0, 1, 1, 3]], confidence[[0, 1, 1, 3]], np.ones((1, 4)))
    assert metrics.risk_coverage_area(wrong, confidence, twice) == pytest.approx(again)
