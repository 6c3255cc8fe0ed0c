import numpy as np
import pytest

from tests.made import table
from trueslice.evaluate.confidence import error_rates, ranges_of


def predictions(confidence: np.ndarray, wrong: np.ndarray, **columns):
    """Of two classes; the first is predicted."""
    return table(wrong.astype(int), np.stack([confidence, 1 - confidence], axis=1), **columns)


def test_ranges_hold_equally_many_scans_and_cover_everything():
    confidence = np.random.default_rng(0).uniform(0.5, 1, 1000)
    rows = error_rates(predictions(confidence, np.zeros(1000, bool))).ranges
    assert (rows[0].lower, rows[-1].upper) == (0, 1)
    assert [row.upper for row in rows[:-1]] == [row.lower for row in rows[1:]]
    assert len(rows) == 10 and all(95 <= row.scans <= 105 for row in rows)


def test_the_rate_is_the_share_of_wrong_scans_in_the_range():
    confidence = np.linspace(0.51, 0.99, 300)
    wrong = confidence < 0.6
    rows = error_rates(predictions(confidence, wrong)).ranges
    for row in rows:
        own = (confidence >= row.lower) & (confidence < row.upper)
        assert row.error_rate == pytest.approx(wrong[own].mean())
        assert row.low <= row.error_rate <= row.high
    assert rows[-1].error_rate == 0 and rows[-1].high < 0.15


def test_few_scans_are_one_range_and_one_unit_has_no_interval():
    confidence = np.linspace(0.6, 0.9, 20)
    (row,) = error_rates(predictions(confidence, np.arange(20) % 2 == 0)).ranges
    assert (row.lower, row.upper, row.scans, row.error_rate) == (0, 1, 20, 0.5)
    (row,) = error_rates(predictions(confidence, np.arange(20) % 2 == 0, group=np.zeros(20, int))).ranges
    assert row.low is None and row.reason


def test_equal_confidences_are_not_divided():
    (row,) = error_rates(predictions(np.ones(500), np.zeros(500, bool))).ranges
    assert row.scans == 500


def test_the_lower_end_belongs_to_a_range():
    assert ranges_of(np.array([0, 0.5, 1]), np.array([0, 0.49, 0.5, 1])).tolist() == [0, 0, 1, 1]
