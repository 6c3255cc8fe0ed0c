"""Simulations of `trueslice compare`: equal methods are rarely called different."""

import pytest

from research.simulations.methods import coverage, drawn_sizes, false_positives


def test_units_are_drawn_until_there_are_so_many_scans():
    assert drawn_sizes({3: 1}, 10).tolist() == [3, 3, 3, 1]
    assert drawn_sizes({1: 5, 2: 5}, 500).sum() == 500


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["copies", "patients"])
def test_equal_methods_are_rarely_called_different_although_their_models_differ(unit):
    found = false_positives(unit, scans=4000, seeds=3, spread=0.03)
    assert 0.03 <= found["two_way"] <= 0.06
    assert found["models"] > 0.2


@pytest.mark.slow
def test_where_scans_favour_a_method_seeds_alone_are_not_enough():
    found = false_positives("patients", scans=4000, seeds=5, spread=0.01)
    assert found["two_way"] <= 0.06 < 0.15 < found["welch"]


@pytest.mark.slow
@pytest.mark.parametrize(("unit", "a", "b"), [("copies", 0.97, 0.98), ("patients", 0.9, 0.95)])
def test_the_interval_of_a_difference_covers_where_the_bootstrap_does_not(unit, a, b):
    found = coverage(unit, 967, a, b)
    assert found["jackknife"] >= 0.94 > found["bootstrap"] + 0.01
