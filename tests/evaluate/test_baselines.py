"""Baselines: each sees what it is said to see, and nothing else."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from tumorclip.evaluate import baselines

SIDE = 64


def scans(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(100, 150, (count, SIDE, SIDE), dtype=np.uint8)


def shares_right(train, train_classes, test, actual) -> dict[str, float]:
    predicted = baselines.predict(train, train_classes, test)
    return {name: float((each == actual).mean()) for name, each in predicted.items()}


@pytest.fixture
def classes():
    return np.arange(120) % 2, np.arange(60) % 2


def test_the_nearest_neighbour_finds_the_copy(classes):
    train, (trained, _) = scans(120, 0), classes
    order = np.random.default_rng(1).permutation(120)[:60]
    noise = np.random.default_rng(2).integers(-3, 4, (60, SIDE, SIDE))
    right = shares_right(train, trained, (train[order] + noise).astype(np.uint8), trained[order])
    assert right["nearest_neighbour"] == 1


def test_only_border_strips_see_a_mark_in_the_corner_that_keeps_the_histogram(classes):
    train, test, (trained, actual) = scans(120, 0), scans(60, 1), classes
    for pixels, labels in ((train, trained), (test, actual)):
        for scan, label in zip(pixels, labels, strict=True):
            # The same values in another corner: the histogram stays as it is.
            corner = np.s_[:8, :8] if label else np.s_[-8:, -8:]
            other = np.s_[-8:, -8:] if label else np.s_[:8, :8]
            scan[corner], scan[other] = 120, 130
    right = shares_right(train, trained, test, actual)
    assert right["border_strips"] == 1
    assert right["grey_histogram"] < 0.75


def test_border_strips_do_not_see_the_middle():
    pixels = scans(3, 0)
    before = baselines.border(pixels)
    pixels[:, 8:-8, 8:-8] = 255
    assert np.array_equal(baselines.border(pixels), before)
    pixels[:, 7] = 0
    assert not np.array_equal(baselines.border(pixels), before)


def test_only_the_grey_histogram_sees_brightness_in_places_that_vary(classes):
    train, test, (trained, actual) = scans(120, 0), scans(60, 1), classes
    random = np.random.default_rng(3)
    for pixels, labels in ((train, trained), (test, actual)):
        for scan, label in zip(pixels, labels, strict=True):
            places = random.permutation(SIDE * SIDE)[:40]
            scan.ravel()[places] = 250 if label else 5
    right = shares_right(train, trained, test, actual)
    assert right["grey_histogram"] == 1


def test_colour_scans_are_classified_too(classes):
    train = np.repeat(scans(120, 0)[..., None], 3, axis=3)
    right = shares_right(train, classes[0], train, classes[0])
    assert right["nearest_neighbour"] == 1
    assert baselines.histogram(train).sum(axis=1) == pytest.approx(1)


def test_the_same_scans_give_the_same_predictions(classes):
    first, second = (baselines.predict(scans(120, 0), classes[0], scans(60, 1)) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_class_without_training_scans_is_never_predicted():
    predicted = baselines.predict(scans(20, 0), np.arange(20) % 2 * 2, scans(10, 1))
    assert all(set(each.tolist()) <= {0, 2} for each in predicted.values())


def test_scores_are_those_of_scikit_learn_with_intervals_over_groups():
    random = np.random.default_rng(0)
    actual, groups = random.integers(0, 3, 600), np.arange(600) // 2
    actual = actual[groups * 2]
    predicted = np.where(random.random(600) < 0.8, actual, random.integers(0, 3, 600))
    names = ["a", "b", "c"]
    result = baselines.evaluate(actual, groups, {"one": predicted, "all_right": actual}, names, "b")
    assert result["one"]["accuracy"] == pytest.approx(accuracy_score(actual, predicted), abs=1e-9)
    assert result["one"]["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(actual, predicted), abs=1e-9)
    assert result["one"]["macro_f1"] == pytest.approx(f1_score(actual, predicted, average="macro"), abs=1e-9)
    assert result["one"]["missed_tumours"] == pytest.approx((predicted[actual != 1] == 1).mean(), abs=1e-9)
    one, right = result["baselines"]
    assert one["low"] < result["one"]["accuracy"] == one["accuracy"] < one["high"]
    assert (one["method"], right["method"]) == ("bootstrap", "exact")
    single = baselines.evaluate(actual, np.arange(600), {"one": np.repeat(predicted[::2], 2)}, names, None)
    double = baselines.evaluate(actual, groups, {"one": np.repeat(predicted[::2], 2)}, names, None)
    widths = [each["baselines"][0]["high"] - each["baselines"][0]["low"] for each in (single, double)]
    assert widths[1] > 1.25 * widths[0]
    assert double["one"]["missed_tumours"] is None
