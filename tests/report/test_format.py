"""How numbers are written."""

import doctest
from types import SimpleNamespace

import pytest

from trueslice.report import format as written
from trueslice.report.format import interval, listed, number, score, with_interval


def test_the_examples_hold():
    assert doctest.testmod(written).failed == 0


@pytest.mark.parametrize(
    ("value", "name", "text"),
    [
        (0.925, "sensitivity", "92.5 %"),
        (-0.2, "intercept", "−0.200"),
        (0.045, "difference", "+4.5"),
        (-0.006, "nll_change", "−0.006"),
        (None, "difference", "not defined"),
    ],
)
def test_a_score_is_written_by_its_name(value, name, text):
    assert number(value, name) == text


def test_an_interval_is_read_by_the_name_of_its_score_and_marked_if_it_is_too_narrow():
    row = SimpleNamespace(accuracy=0.5, low=0.4, high=0.6, covers=0.905, ppv=0.2, ppv_low=0.1, ppv_high=0.3)
    assert (score(row, "accuracy"), interval(row, "accuracy")) == ("50.0 %", "40.0 % to 60.0 %†")
    assert interval(row, "ppv", "–") == "10.0 %–30.0 %"
    assert with_interval(row, "ppv") == "20.0 % (95 % interval 10.0 % to 30.0 %)"


def test_the_reason_takes_the_place_of_an_interval_that_is_missing():
    row = SimpleNamespace(score="f1", value=None, low=None, high=None, reason="glioma has no test scan")
    assert interval(row) == ""
    assert with_interval(row) == "not defined (glioma has no test scan)"


def test_lists_have_commas_and_one_and():
    assert [listed(words) for words in ([], ["a"], ["a", "b"])] == ["", "a", "a and b"]
