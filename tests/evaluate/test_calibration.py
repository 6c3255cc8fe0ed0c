import numpy as np
import pytest

from tumorclip.evaluate import calibration


def example(seed: int, scans: int = 300, classes: int = 4):
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(classes, 0.5), scans)
    return random.integers(0, classes, scans), probabilities


@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_the_definitions_written_out(seed):
    actual, probabilities = example(seed)
    found = calibration.calibration(actual, probabilities)
    own = probabilities[np.arange(len(actual)), actual]
    assert found["nll"] == pytest.approx(np.mean(-np.log(np.maximum(own, np.finfo(float).eps))), abs=1e-9)
    truth = np.eye(4)[actual]
    assert found["brier"] == pytest.approx(np.mean(((probabilities - truth) ** 2).sum(axis=1)), abs=1e-9)
    total = 0.0
    for low in range(15):
        inside = [i for i, row in enumerate(probabilities) if low / 15 < row.max() <= (low + 1) / 15]
        if inside:
            hits = np.mean([probabilities[i].argmax() == actual[i] for i in inside])
            total += len(inside) / len(actual) * abs(hits - np.mean([probabilities[i].max() for i in inside]))
    assert found["ece"] == pytest.approx(total, abs=1e-9)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("actual", [[0], [1], [0, 0, 0], [1, 1, 0]])
def test_few_scans_certainty_and_ties_have_values(actual):
    actual = np.array(actual)
    for probabilities in (np.eye(2)[np.zeros(len(actual), int)], np.full((len(actual), 2), 0.5)):
        found = calibration.calibration(actual, probabilities)
        assert np.isfinite(list(found.values())).all()
        assert 0 <= found["ece"] <= 1
        assert 0 <= found["brier"] <= 2


def test_bins_hold_their_upper_edge():
    assert calibration.bin_of(np.array([1e-9, 1 / 15, 1 / 15 + 1e-9, 14 / 15 + 1e-9, 1.0])).tolist() == [
        0,
        0,
        1,
        14,
        14,
    ]


def test_what_chance_alone_shows_is_met_by_a_calibrated_model_and_missed_by_an_overconfident_one():
    random = np.random.default_rng(1)
    _, probabilities = example(1, scans=1300)
    actual = np.array([random.choice(4, p=row) for row in probabilities])
    chance = calibration.ece_if_calibrated(probabilities, np.arange(1300), seed=0)
    assert 0.01 < chance < 0.05
    assert calibration.calibration(actual, probabilities)["ece"] < 1.6 * chance
    sharper = probabilities**4 / (probabilities**4).sum(axis=1, keepdims=True)
    assert calibration.calibration(actual, sharper)["ece"] > 3 * chance


def test_copies_make_chance_larger():
    _, probabilities = example(2, scans=100)
    repeated = np.repeat(probabilities, 5, axis=0)
    alone = calibration.ece_if_calibrated(repeated, np.arange(500), seed=0)
    tied = calibration.ece_if_calibrated(repeated, np.repeat(np.arange(100), 5), seed=0)
    assert tied == pytest.approx(calibration.ece_if_calibrated(probabilities, np.arange(100), seed=0))
    assert tied > 1.5 * alone


@pytest.mark.filterwarnings("error")
def test_reliability_holds_confidence_against_accuracy_and_leaves_empty_bins_without_a_value():
    bins = calibration.reliability(np.array([0.61, 0.65, 0.99, 1.0, 1.0]), np.array([True, False, True, True, False]))
    assert bins.scans.tolist() == [0] * 9 + [2] + [0] * 4 + [3]
    assert bins.confidence[[9, 14]] == pytest.approx([0.63, 2.99 / 3])
    assert bins.accuracy[[9, 14]] == pytest.approx([1 / 2, 2 / 3])
    assert np.isnan(np.delete(bins.accuracy, [9, 14])).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_probabilities_before_temperature_are_found_again(temperature):
    logits = np.random.default_rng(0).normal(0, 5, (50, 4))
    before, after = (np.exp(scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True)) for scaled in (
        logits, logits / temperature
    ))  # fmt: skip
    assert calibration.before_temperature(after, temperature) == pytest.approx(before, abs=1e-12)


@pytest.mark.filterwarnings("error")
def test_certain_probabilities_stay_so_before_temperature():
    assert calibration.before_temperature(np.array([[1.0, 0.0]]), 2.0).tolist() == [[1.0, 0.0]]
