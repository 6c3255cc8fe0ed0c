"""Simulated promises: the threshold is the one of the stage, and the truth that of very many scans."""

import json

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from research.simulations import withheld


def test_the_truth_is_that_of_the_normal_margin():
    truth = withheld.Truth.of(0.92, withheld.Kind(0.6))
    assert truth.mean == pytest.approx(norm.ppf(0.92), abs=0.01)
    answered, wrong = truth.at(float(expit(0.7)))
    of_wrong = norm.cdf(-0.7 - truth.mean)
    assert answered == pytest.approx(of_wrong + norm.sf(0.7 - truth.mean), abs=0.003)
    assert wrong == pytest.approx(of_wrong / answered, abs=0.002)


def test_too_few_units_promise_nothing_however_sure():
    unit = np.repeat(np.arange(30), 4)
    found = withheld.thresholds(unit, np.linspace(1, 2, 120), 0.1)
    assert found["ours"] is None and found["naive"] is not None and found["scans"] is not None


def test_the_committed_promises_are_broken_in_three_percent_of_the_cases_at_most():
    rows = json.loads(withheld.RESULTS.read_text(encoding="utf-8"))["rows"]
    worst = {way: max(row["broken"] for row in rows if row["way"] == way) for way in withheld.WAYS}
    assert worst["ours"] <= 0.03 and worst["scans"] > 0.2 and worst["naive"] > 0.4
