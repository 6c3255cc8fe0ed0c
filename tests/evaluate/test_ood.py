import numpy as np
import pytest

from tests.made import model_table, one_hot, table
from trueslice.evaluate import ood
from trueslice.evaluate.intervals import GroupBootstrap
from trueslice.tables.ood import OodDistances
from trueslice.tables.predictions import ValidationPredictions


def scored(validation: np.ndarray, test: np.ndarray, unit: np.ndarray, **pictures: list[float]):
    held_out = table(*answers(len(validation)), kind=ValidationPredictions, distance=validation)
    kinds = np.repeat(list(pictures), [len(some) for some in pictures.values()])
    made = OodDistances(kinds, np.concatenate([*pictures.values(), []]))
    return ood.score(held_out, model_table(*answers(len(test)), distance=test, unit=unit), made)


def answers(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(count), one_hot(np.zeros(count), 2)


def test_the_threshold_is_passed_by_one_validation_scan_in_a_hundred():
    validation = np.random.default_rng(0).random(1000)
    threshold = scored(validation, np.zeros(1), np.zeros(1)).threshold
    assert (validation > threshold).mean() == pytest.approx(0.01)


def test_warnings_are_counted_for_test_scans_over_units_and_for_each_kind_of_picture():
    warned, unit = np.arange(40) % 10 == 0, np.arange(40) // 2
    found = scored(np.full(100, 0.5), np.where(warned, 0.6, 0.5), unit, noise=[0.9, 0.4], blank=[0.7])
    assert found.threshold == 0.5
    assert [(row.pictures, row.count, row.warned) for row in found.rates] == [
        ("test scans", 40, 0.1), ("noise", 2, 0.5), ("blank", 1, 1)
    ]  # fmt: skip
    expected = GroupBootstrap(unit).share(warned, np.ones(40, bool)).interval
    assert (found.rates[0].low, found.rates[0].high) == expected[:2]
    assert found.rates[1].low is None and found.rates[1].reason
