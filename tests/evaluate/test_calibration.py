import numpy as np
import pytest

from tumorclip.evaluate.calibration import ece_if_calibrated
from tumorclip.evaluate.metrics import ece


def example(seed: int, scans: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(4, 0.5), scans)


def test_what_chance_alone_shows_is_met_by_a_calibrated_model_and_missed_by_an_overconfident_one():
    random = np.random.default_rng(1)
    probabilities = example(1, 1300)
    correct = probabilities.argmax(axis=1) == [random.choice(4, p=row) for row in probabilities]
    chance = ece_if_calibrated(probabilities.max(axis=1), np.arange(1300), seed=0)
    assert 0.01 < chance < 0.05
    assert ece(probabilities.max(axis=1), correct) < 1.6 * chance
    sharper = probabilities**4 / (probabilities**4).sum(axis=1, keepdims=True)
    assert ece(sharper.max(axis=1), correct) > 3 * chance


def test_copies_make_chance_larger():
    confidence = example(2, 100).max(axis=1)
    repeated = np.repeat(confidence, 5)
    alone = ece_if_calibrated(repeated, np.arange(500), seed=0)
    tied = ece_if_calibrated(repeated, np.repeat(np.arange(100), 5), seed=0)
    assert tied == pytest.approx(ece_if_calibrated(confidence, np.arange(100), seed=0))
    assert tied > 1.5 * alone
