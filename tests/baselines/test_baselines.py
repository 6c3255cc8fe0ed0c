"""Baselines: each sees what it is said to see, and nothing else."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional

from trueslice.baselines import baselines
from trueslice.baselines.baselines import BASELINES, Inputs, Task
from trueslice.copies.thumbnails import thumbnails
from trueslice.model.pixels import Pixels

SIDE = 64
OF_ENCODER = ("zero_shot", "linear_probe")
CAPTIONS = [["one class"], ["another", "class"], ["a third one"]]


def scans(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(100, 150, (count, SIDE, SIDE), dtype=np.uint8)


def inputs(pixels: np.ndarray, encoder=None) -> Inputs:
    features = None
    if encoder:
        scans = Pixels(pixels, np.arange(len(pixels)), encoder.image_size, encoder.device)
        features = encoder.features(scans.all())
    return Inputs(pixels, thumbnails(pixels), features)


def predicted(train, y_train, test, encoder=None) -> dict[str, np.ndarray]:
    """Probabilities by baseline; without an encoder, of those that need none."""
    task = Task(inputs(train, encoder), y_train, np.arange(len(train)), inputs(test, encoder), CAPTIONS, encoder)
    return {name: baseline(task) for name, baseline in BASELINES.items() if encoder or name not in OF_ENCODER}


def shares_right(train, y_train, test, y_test) -> dict[str, float]:
    return {name: np.mean(each.argmax(axis=1) == y_test) for name, each in predicted(train, y_train, test).items()}


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
    train, test, (trained, y_test) = scans(120, 0), scans(60, 1), classes
    for pixels, labels in ((train, trained), (test, y_test)):
        for scan, label in zip(pixels, labels, strict=True):
            # The same values in another corner: the histogram stays as it is.
            corner = np.s_[:8, :8] if label else np.s_[-8:, -8:]
            other = np.s_[-8:, -8:] if label else np.s_[:8, :8]
            scan[corner], scan[other] = 120, 130
    right = shares_right(train, trained, test, y_test)
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
    train, test, (trained, y_test) = scans(120, 0), scans(60, 1), classes
    random = np.random.default_rng(3)
    for pixels, labels in ((train, trained), (test, y_test)):
        for scan, label in zip(pixels, labels, strict=True):
            places = random.permutation(SIDE * SIDE)[:40]
            scan.ravel()[places] = 250 if label else 5
    right = shares_right(train, trained, test, y_test)
    assert right["grey_histogram"] == 1


def test_colour_scans_are_classified_too(classes):
    train = np.repeat(scans(120, 0)[..., None], 3, axis=3)
    right = shares_right(train, classes[0], train, classes[0])
    assert right["nearest_neighbour"] == 1
    assert baselines.histogram(train).sum(axis=1) == pytest.approx(1)


def test_the_same_scans_give_the_same_probabilities(classes):
    first, second = (predicted(scans(120, 0), classes[0], scans(60, 1)) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_probabilities_sum_to_one_and_a_class_without_training_scans_has_none(encoder):
    found = predicted(scans(20, 0), np.arange(20) % 2 * 2, scans(10, 1), encoder)
    assert list(found) == ["nearest_neighbour", "border_strips", "grey_histogram", "zero_shot", "linear_probe"]
    for name, probabilities in found.items():
        assert probabilities.shape == (10, 3) and probabilities.dtype == np.float64
        assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-8)
        assert name == "zero_shot" or (probabilities[:, 1] == 0).all()
    assert set(found["nearest_neighbour"].ravel()) == {0, 1}


def test_zero_shot_is_the_encoder_asked_with_the_captions(encoder):
    test = scans(10, 1)
    found = predicted(scans(20, 0), np.arange(20) % 2, test, encoder)["zero_shot"]
    with torch.inference_mode():
        resized = functional.interpolate(
            torch.from_numpy(test)[:, None].float(), (encoder.image_size,) * 2, mode="bicubic", antialias=True
        )
        images = encoder.encode_images(resized.round().clamp(0, 255))
        logits = encoder.logit_scale * images @ encoder.encode_classes(CAPTIONS).T
    assert found == pytest.approx(logits.softmax(dim=1).numpy(), abs=1e-5)


def probe_task(encoder, units: np.ndarray, y_train: np.ndarray, test: np.ndarray) -> Task:
    """Training scans in as many shades as there are units; the test scans are as given."""
    train = scans(len(units), 0) // 5 + (units % 12 * 15).astype(np.uint8)[:, None, None]
    return Task(inputs(train, encoder), y_train, units, inputs(test, encoder), CAPTIONS, encoder)


def test_the_linear_probe_is_a_logistic_regression_on_standardised_features(encoder, monkeypatch):
    monkeypatch.setattr(baselines, "STRENGTHS", (0.01,))
    y_train = np.arange(40) % 3
    task = probe_task(encoder, np.arange(40), y_train, scans(10, 1))
    train, test = (each.features.double().numpy() for each in (task.train, task.test))
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    model = LogisticRegression(C=0.01).fit((train - mean) / deviation, y_train)
    found = baselines.linear_probe(task)
    assert found == pytest.approx(model.predict_proba((test - mean) / deviation), abs=1e-3)
    assert np.array_equal(found, baselines.linear_probe(task))


def test_the_penalty_is_chosen_on_units_that_were_not_trained_on():
    # Features that tell units apart, and nothing of the class but for a weak one: only a strong penalty
    # gets anything right on other units, and memory would be right on all.
    random = np.random.default_rng(0)
    units = np.repeat(np.arange(40), 10)
    y_true = units % 2
    of_unit = random.standard_normal((40, 60))[units] + 0.01 * random.standard_normal((400, 60))
    x = np.hstack([of_unit, (y_true * 2 - 1)[:, None] + random.standard_normal((400, 1))])
    together = baselines._strength(x, y_true, units)
    apart = baselines._strength(x, y_true, np.arange(400))
    assert together < apart


def test_the_penalty_is_the_strongest_where_no_unit_can_be_held_out():
    x, y_true = np.random.default_rng(0).standard_normal((6, 3)), np.array([0, 0, 0, 1, 1, 1])
    assert baselines._strength(x, y_true, y_true) == min(baselines.STRENGTHS)


def test_a_fold_whose_other_units_lack_a_class_is_passed_over():
    # One fold holds out unit 0, with scans of both classes, and unit 1: what is left is of one class.
    x, y_true, units = np.eye(4), np.array([0, 1, 0, 1]), np.array([0, 0, 1, 2])
    assert baselines._strength(x, y_true, units) in baselines.STRENGTHS
