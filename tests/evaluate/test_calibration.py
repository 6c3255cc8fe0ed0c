"""What calibration is compared with, against simulation and scikit-learn."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from tests.made import model_table
from trueslice.evaluate.calibration import eces_if_calibrated, recalibration, score
from trueslice.evaluate.intervals import GroupBootstrap
from trueslice.evaluate.metrics import ece


def example(seed: int, scans: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(4, 0.5), scans)


def test_what_chance_alone_shows_is_met_by_a_calibrated_model_and_missed_by_an_overconfident_one():
    random = np.random.default_rng(1)
    probabilities = example(1, 1300)
    y_true = np.array([random.choice(4, p=row) for row in probabilities])
    sharper = probabilities**4 / (probabilities**4).sum(axis=1, keepdims=True)
    units = GroupBootstrap(np.arange(1300))
    right, sure = (score(model_table(y_true, shares), units, None) for shares in (probabilities, sharper))
    assert 0.01 < right.ece_if_calibrated < right.ece_p95_if_calibrated < 0.05
    assert right.ece_p_value > 0.05
    assert sure.ece_p_value == pytest.approx(1 / 1001)
    correct = sharper.argmax(axis=1) == y_true
    assert ece(sharper.max(axis=1), correct) > 3 * sure.ece_if_calibrated


def test_copies_make_chance_larger():
    confidence = example(2, 100).max(axis=1)
    repeated = np.repeat(confidence, 5)
    alone = eces_if_calibrated(repeated, np.arange(500)).mean()
    tied = eces_if_calibrated(repeated, np.repeat(np.arange(100), 5)).mean()
    assert tied == pytest.approx(eces_if_calibrated(confidence, np.arange(100)).mean())
    assert tied > 1.5 * alone


@pytest.mark.parametrize(
    ("temperature", "verdict"), [(2.0, "helped"), (0.5, "made it worse"), (1.0, "did not help"), (1.01, "did not help")]
)
def test_the_verdict_on_a_temperature_needs_an_interval_of_the_paired_difference(temperature, verdict):
    random = np.random.default_rng(0)
    truth = random.normal(0, 2, (600, 4))
    y_true = (truth + random.gumbel(size=truth.shape)).argmax(axis=1)
    # Logits twice as large as they should be if the temperature is to help, else right as they are.
    logits = truth * (temperature if verdict == "helped" else 1)
    shares = np.exp(logits / temperature) / np.exp(logits / temperature).sum(axis=1, keepdims=True)
    found = score(model_table(y_true, shares, logits=logits), GroupBootstrap(np.arange(600)), None)
    assert found.verdict == verdict
    assert found.slope is None and found.intercept_low is None
    if temperature != 1:
        assert found.nll_change_low < found.nll_change < found.nll_change_high
        assert (found.nll_change < 0) == (verdict == "helped") or verdict == "did not help"


def test_recalibration_is_logistic_regression_with_errors_over_groups():
    random = np.random.default_rng(3)
    odds = random.normal(1, 2, 400)
    is_tumour = random.random(400) < expit(0.5 + 0.7 * odds)
    found = recalibration(is_tumour, expit(-odds), np.arange(400))
    fit = LogisticRegression(C=np.inf, tol=1e-8).fit(odds[:, None], is_tumour)
    assert found.slope.value == pytest.approx(fit.coef_[0, 0], abs=1e-4)
    assert found.slope.interval.low < 0.7 < found.slope.interval.high < 1
    # With the slope at 1, the expected number of tumours is the true one.
    assert expit(odds + found.intercept.value).sum() == pytest.approx(is_tumour.sum(), abs=1e-3)
    fourfold = recalibration(np.repeat(is_tumour, 4), np.repeat(expit(-odds), 4), np.repeat(np.arange(400), 4))
    for one, four in zip(found, fourfold, strict=True):
        assert four.value == pytest.approx(one.value, abs=1e-4)
        assert four.interval[:2] == pytest.approx(one.interval[:2], abs=1e-3)


def test_recalibration_has_no_slope_where_nothing_is_mixed_up_and_nothing_at_all_for_one_side():
    healthy = np.array([0.9, 0.8, 0.2, 0.1])
    apart = recalibration(healthy < 0.5, healthy, np.arange(4))
    assert np.isnan(apart.slope.value) and np.isfinite(apart.intercept.value)
    assert np.isnan(recalibration(np.ones(4, bool), healthy, np.arange(4)).intercept.value)
    certain = recalibration(np.array([True, False, True, False]), np.array([0.0, 1.0, 1.0, 0.0]), np.arange(4))
    assert np.isfinite(certain.slope.value) and logit(0.5) == 0
