import pytest
import torch

from trueslice.train.weights import average, clone, copy_into, interpolate, swapped


def test_the_moving_average_is_that_of_the_formula():
    mean, now = {"a": torch.zeros(1)}, {"a": torch.ones(1)}
    expected = 0.0
    for step in range(50):
        average(mean, now, 0.9, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay)
        assert mean["a"].item() == pytest.approx(expected, rel=1e-5)


def test_a_copy_does_not_follow_and_can_be_put_back():
    weights = {"a": torch.zeros(2)}
    before = clone(weights)
    weights["a"] += 1
    assert before["a"].tolist() == [0, 0]
    copy_into(weights, before)
    assert weights["a"].tolist() == [0, 0]


def test_weights_are_swapped_within_the_block_only():
    weights = {"a": torch.zeros(2)}
    with swapped(weights, {"a": torch.ones(2)}):
        assert weights["a"].tolist() == [1, 1]
    assert weights["a"].tolist() == [0, 0]
    with swapped(weights, None):
        assert weights["a"].tolist() == [0, 0]


def test_interpolation_goes_from_one_end_to_the_other():
    before, after, into = ({"a": torch.tensor([value])} for value in (1.0, 5.0, 0.0))
    for alpha, expected in [(0, 1), (0.25, 2), (1, 5)]:
        interpolate(into, before, after, alpha)
        assert into["a"].item() == expected


def test_what_is_counted_is_not_interpolated():
    """As the number of batches that batch normalisation has seen."""
    before, after, into = ({"a": torch.ones(1), "seen": torch.tensor(5)} for _ in range(3))
    interpolate(into, before, after, 0.5)
    assert into["seen"].item() == 5 and into["a"].item() == 1
