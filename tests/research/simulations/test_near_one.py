"""Simulations of scores near 1: the intervals hold, and are not absurdly wide where a few units decide."""

import json

import numpy as np
import pytest

from research.simulations import near_one
from trueslice.evaluate import metrics
from trueslice.evaluate.intervals import RULES, GroupBootstrap


def test_the_fast_estimate_of_an_auroc_is_the_one_of_the_stage():
    random = np.random.default_rng(0)
    unit, is_tumour = near_one.drawn_units(random, 20)
    scores = random.normal(size=len(unit)) + 1.5 * is_tumour
    found = near_one.auroc_estimate(unit, is_tumour, scores)
    expected = GroupBootstrap(unit).estimate(metrics.auroc, is_tumour, scores)
    assert found.value == pytest.approx(expected.value, abs=1e-12)
    assert found.interval[:2] == pytest.approx(expected.interval[:2], abs=1e-9)


@pytest.mark.parametrize("score", ["nll", "brier"])
def test_a_loss_says_how_often_its_interval_held_in_the_worst_case(score):
    rows = json.loads(near_one.RESULTS.read_text(encoding="utf-8"))["scores"]
    worst = min(row["covers"] for row in rows if row["score"] == score)
    assert RULES[score].covers == round(worst, 2)


@pytest.mark.slow
@pytest.mark.parametrize(("units", "auroc"), [(20, 0.9), (50, 0.99), (200, 0.998)])
def test_the_interval_of_an_auroc_covers_with_heavy_tails_and_is_seldom_wide(units, auroc):
    found = near_one.auroc_coverage(units, auroc, 0.8, heavy=True, repeats=400)
    assert found["covers"] >= 0.92 and found["too_high"] <= 0.04 and found["none"] == 0
    assert found["width_p95"] < {20: 0.85, 50: 0.3, 200: 0.07}[units]


@pytest.mark.slow
def test_scores_of_four_classes_cover_and_losses_are_known_not_to():
    covers = {row["score"]: row["covers"] for row in near_one.score_coverage(20, 3.4, 0.8, heavy=True, repeats=200)}
    assert 0.65 <= min(covers.pop("nll"), covers.pop("brier")) < 0.9
    assert min(covers.values()) >= 0.9, covers


@pytest.mark.slow
def test_the_band_of_the_roc_curve_covers_where_few_healthy_units_are_known():
    for row in near_one.curve_coverage(50, 0.97, 0.8, heavy=True, repeats=100):
        assert row["covers"] >= 0.88 and row["too_high"] <= 0.05, row
