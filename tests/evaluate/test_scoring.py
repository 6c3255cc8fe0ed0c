"""The scores against scikit-learn, against tables computed by hand, and against the original project's publication."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from tumorclip.evaluate.intervals import MIN_DISTINCT
from tumorclip.evaluate.score import Predictions, distinct, evaluate, resample_ranking, score

CLASSES = ["glioma", "meningioma", "notumor", "pituitary"]

# The original project's test predictions (rows: actual), counted from its evaluation_metrics.json; what it published.
ORIGINAL = np.array([[99, 96, 0, 105], [9, 171, 52, 74], [2, 50, 313, 40], [3, 12, 5, 280]])
ORIGINAL_ACCURACY = 0.6583
ORIGINAL_TABLE = {
    "recall": [0.3300, 0.5588, 0.7728, 0.9333],
    "precision": [0.8761, 0.5198, 0.8459, 0.5611],
    "f1": [0.4794, 0.5386, 0.8077, 0.7009],
}
ORIGINAL_FILE = Path(__file__).parents[3] / "shared/seed/evaluation_metrics.json"


def labels(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Actual and predicted class indices, int [N] each, that have this confusion matrix."""
    actual, predicted = np.indices(confusion.shape)
    return np.repeat(actual.ravel(), confusion.ravel()), np.repeat(predicted.ravel(), confusion.ravel())


def column(result: dict, key: str) -> list:
    return [row[key] for row in result["classes"]]


def test_the_original_projects_predictions_give_its_published_table():
    result = score(*labels(ORIGINAL), CLASSES, "notumor")
    assert round(result["accuracy"], 4) == ORIGINAL_ACCURACY
    for key, published in ORIGINAL_TABLE.items():
        assert [round(value, 4) for value in column(result, key)] == published
    assert column(result, "accuracy") == column(result, "recall")
    assert column(result, "scans") == [300, 306, 405, 300]
    assert column(result, "predicted") == [113, 329, 370, 499]
    assert [list(row["predicted_as"].values()) for row in result["classes"]] == ORIGINAL.tolist()
    assert all(list(row["predicted_as"]) == CLASSES for row in result["classes"])
    assert result["missed_tumours"] == (0 + 52 + 5) / (300 + 306 + 300)
    assert result["false_alarms"] == (2 + 50 + 40) / 405


@pytest.mark.skipif(not ORIGINAL_FILE.exists(), reason="the original project's files are not beside this repository")
def test_the_original_projects_own_file_gives_the_same():
    original = json.loads(ORIGINAL_FILE.read_text())
    actual, predicted = (
        np.array([CLASSES.index(name) for name in original[key]]) for key in ("all_labels", "all_preds")
    )
    result = score(actual, predicted, CLASSES, "notumor")
    assert result == score(*labels(ORIGINAL), CLASSES, "notumor")
    assert result["accuracy"] == pytest.approx(original["overall_accuracy"], abs=1e-9)
    for row in result["classes"]:
        published = original["class_metrics"][row["class"]]
        assert row["accuracy"] == pytest.approx(original["class_accuracies"][row["class"]], abs=1e-9)
        assert row["precision"] == pytest.approx(published["precision"], abs=1e-9)
        assert row["recall"] == pytest.approx(published["recall"], abs=1e-9)
        assert row["f1"] == pytest.approx(published["f1_score"], abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_random_predictions_score_as_scikit_learn_has_it(seed):
    random = np.random.default_rng(seed)
    count = int(random.integers(2, 12))
    names = [f"class {index:02}" for index in range(count)]
    # Every class once on both sides, so that scikit-learn has a value for everything.
    actual = np.concatenate([np.arange(count), random.integers(0, count, 300)])
    predicted = np.where(random.random(len(actual)) < 0.7, actual, random.integers(0, count, len(actual)))
    result = score(actual, predicted, names, names[1])
    expected = {
        "scans": len(actual),
        "accuracy": metrics.accuracy_score(actual, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(actual, predicted),
        "macro_precision": metrics.precision_score(actual, predicted, average="macro"),
        "macro_f1": metrics.f1_score(actual, predicted, average="macro"),
        "missed_tumours": np.mean(predicted[actual != 1] == 1),
        "false_alarms": np.mean(predicted[actual == 1] != 1),
        "mcc": metrics.matthews_corrcoef(actual, predicted),
        "cohen_kappa": metrics.cohen_kappa_score(actual, predicted),
    }
    assert {key: result[key] for key in expected} == pytest.approx(expected, abs=1e-9)
    assert column(result, "recall") == pytest.approx(metrics.recall_score(actual, predicted, average=None), abs=1e-9)
    assert column(result, "precision") == pytest.approx(
        metrics.precision_score(actual, predicted, average=None), abs=1e-9
    )
    assert column(result, "f1") == pytest.approx(metrics.f1_score(actual, predicted, average=None), abs=1e-9)
    for index, row in enumerate(result["classes"]):
        others, elsewhere = actual != index, predicted != index
        assert row["specificity"] == pytest.approx(metrics.recall_score(others, elsewhere), abs=1e-9)
        assert row["npv"] == pytest.approx(metrics.precision_score(others, elsewhere), abs=1e-9)


def test_two_classes_by_hand():
    # 8 of 10 healthy and 15 of 30 ill scans are right.
    result = score(*labels(np.array([[8, 2], [15, 15]])), ["healthy", "ill"], "healthy")
    assert result["accuracy"] == 23 / 40
    assert result["balanced_accuracy"] == pytest.approx((0.8 + 0.5) / 2)
    assert column(result, "precision") == pytest.approx([8 / 23, 15 / 17])
    assert column(result, "f1") == pytest.approx([16 / 33, 30 / 47])
    assert result["missed_tumours"] == 0.5
    assert result["false_alarms"] == 0.2


def test_a_class_that_is_never_predicted_has_no_precision_and_f1_zero():
    result = score(*labels(np.array([[5, 0, 0], [1, 4, 0], [2, 1, 0]])), ["a", "b", "c"], "a")
    assert column(result, "precision") == [5 / 8, 4 / 5, None]
    assert column(result, "recall") == [1, 4 / 5, 0]
    assert column(result, "f1")[2] == 0
    # A mean over a and b alone would be better than the one of a model that tries c.
    assert result["macro_precision"] is None
    assert result["macro_f1"] == pytest.approx((10 / 13 + 8 / 10 + 0) / 3)


def test_a_class_without_test_scans_has_no_recall():
    result = score(*labels(np.array([[5, 1], [0, 0]])), ["a", "b"], "b")
    assert column(result, "recall") == column(result, "accuracy") == [5 / 6, None]
    assert column(result, "precision") == [1, 0]
    assert column(result, "f1") == [10 / 11, 0]
    assert result["balanced_accuracy"] is None
    assert result["missed_tumours"] == 1 / 6
    assert result["false_alarms"] is None


def test_a_class_that_does_not_occur_at_all_has_no_score():
    result = score(np.array([0]), np.array([0]), ["a", "b"], "a")
    assert (result["scans"], result["accuracy"]) == (1, 1)
    assert [column(result, key) for key in ("recall", "precision", "f1")] == [[1, None]] * 3
    assert [result[key] for key in ("balanced_accuracy", "macro_precision", "macro_f1")] == [None] * 3
    assert (result["missed_tumours"], result["false_alarms"]) == (None, 0)


@pytest.mark.parametrize(("confusion", "value"), [(np.diag([4, 5, 6]), 1), (np.roll(np.diag([4, 5, 6]), 1, axis=1), 0)])
def test_all_right_is_one_and_all_wrong_is_zero(confusion, value):
    result = score(*labels(confusion), ["a", "b", "c"], None)
    overall = ("accuracy", "balanced_accuracy", "macro_precision", "macro_f1")
    assert [result[key] for key in overall] == [value] * 4
    assert [column(result, key) for key in ("recall", "precision", "f1")] == [[value] * 3] * 3


def test_without_a_negative_class_nothing_is_missed_or_alarmed():
    result = score(*labels(ORIGINAL), CLASSES, None)
    assert (result["missed_tumours"], result["false_alarms"]) == (None, None)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "confusion", [ORIGINAL, np.array([[5, 0], [1, 0]]), np.array([[5, 1], [0, 0]]), np.eye(2, dtype=int)]
)
def test_the_result_is_plain_json_without_a_warning(confusion):
    result = score(*labels(confusion), CLASSES[: len(confusion)], "glioma")
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_nothing_to_score_is_an_error():
    with pytest.raises(ValueError, match="no test scan"):
        score(np.array([], dtype=int), np.array([], dtype=int), CLASSES, None)


def predictions(actual, probabilities, groups=None, leaked=None) -> Predictions:
    count = len(actual)
    return Predictions(
        np.asarray(actual),
        np.asarray(probabilities, float),
        np.asarray(probabilities, float),
        np.arange(count) if groups is None else np.asarray(groups),
        np.zeros(count, bool) if leaked is None else np.asarray(leaked),
    )


def everything(of: Predictions, trained_on_copies: bool = False, negative: str | None = "b", turned=None):
    names = ["a", "b", "c"][: of.probabilities.shape[1]]
    return evaluate(of, names, negative, trained_on_copies, of.predicted if turned is None else np.asarray(turned))


def record(rows: list[dict], score: str, class_name: str | None = None) -> dict:
    (row,) = [row for row in rows if (row["score"], row["class"]) == (score, class_name)]
    return row


@pytest.mark.parametrize("seed", range(4))
def test_resampled_rankings_are_those_of_scikit_learn_with_weights(seed):
    random = np.random.default_rng(seed)
    own = np.r_[True, False, random.random(58) < 0.3]
    scores = random.integers(0, 15, 60) / 15  # many ties
    weights = random.integers(0, 4, (30, 60)).astype(float)
    weights[:, :2] = 1
    areas, averages = resample_ranking(own, scores, weights)
    for weight, area, average in zip(weights, areas, averages, strict=True):
        assert area == pytest.approx(metrics.roc_auc_score(own, scores, sample_weight=weight), abs=1e-9)
        assert average == pytest.approx(metrics.average_precision_score(own, scores, sample_weight=weight), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    actual=st.lists(st.integers(0, 2), min_size=1, max_size=12),
    shares=st.lists(st.sampled_from([(1, 0, 0), (0, 1, 0), (0.5, 0.5, 0), (0.2, 0.3, 0.5), (1 / 3,) * 3]), min_size=12),
    groups=st.lists(st.integers(0, 4), min_size=12),
    leaked=st.lists(st.booleans(), min_size=12),
)
@pytest.mark.filterwarnings("error")
def test_any_predictions_have_a_value_within_its_interval_or_a_reason(actual, shares, groups, leaked):
    count = len(actual)
    of = predictions(actual, shares[:count], groups[:count], leaked[:count])
    result, rows = everything(of, trained_on_copies=True)
    assert json.loads(json.dumps([result, rows], allow_nan=False)) == [result, rows]
    for row in rows:
        if row["value"] is None:
            assert row["reason"]
        if row["low"] is None:
            assert row["reason"]
            assert row["method"] is None
        else:
            assert row["low"] - 1e-12 <= row["value"] <= row["high"] + 1e-12 or row["method"] == "bootstrap"
    for index, name in enumerate("abc"):
        own = np.array(actual) == index
        mine = result["classes"][index]
        if own.any() and not own.all():
            expected = metrics.roc_auc_score(own, of.probabilities[:, index])
            assert mine["auroc"] == pytest.approx(expected, abs=1e-9)
        else:
            assert mine["auroc"] is None
            assert name in record(rows, "auroc", name)["reason"]


def test_copies_of_a_scan_have_one_vote():
    shares = [[0.6, 0.4], [0.6, 0.4], [0.0, 1.0], [0.9, 0.1], [0.2, 0.8], [0.2, 0.8]]
    of = predictions([0, 0, 0, 0, 1, 0], shares, groups=[7, 7, 7, 3, 5, 5])
    actual, predicted, groups, left_out = distinct(of)
    # Group 7 says b by its mean, 0.4 to 0.6, although two of three files say a; group 5 stands under both classes.
    assert (actual.tolist(), predicted.tolist(), groups.tolist(), left_out) == ([0, 0], [0, 1], [3, 7], 1)
    result, rows = everything(of)
    assert result["per_distinct_scan"]["accuracy"] == 0.5
    assert result["per_distinct_scan"]["conflicting_groups_left_out"] == 1
    assert record(rows, "accuracy_per_distinct_scan")["value"] == 0.5


def test_the_interval_of_accuracy_counts_groups_not_files():
    random = np.random.default_rng(0)
    wrong = random.random(250) < 0.3
    shares = np.where(wrong[:, None], [[0.1, 0.9]], [[0.9, 0.1]])
    _, alone = everything(predictions(np.zeros(250, int), shares))
    _, tenfold = everything(
        predictions(np.zeros(2500, int), np.repeat(shares, 10, axis=0), np.repeat(np.arange(250), 10))
    )
    assert record(alone, "accuracy") == pytest.approx(record(tenfold, "accuracy"))
    assert record(alone, "accuracy")["method"] == "bootstrap"


def test_a_score_that_is_the_same_in_every_resample_has_no_interval():
    # Class 2 is never predicted: its F1 is 0 whatever is drawn, which does not make it certain.
    actual = np.repeat([0, 1, 2], 40)
    probabilities = np.tile([0.6, 0.3, 0.1], (120, 1))
    probabilities[40:70] = [0.3, 0.6, 0.1]
    predictions = Predictions(actual, probabilities, probabilities, np.arange(120), np.zeros(120, bool))
    _, records = evaluate(predictions, ["a", "b", "c"], None, False, actual)
    (f1,) = [row for row in records if row["score"] == "f1" and row["class"] == "c"]
    assert (f1["value"], f1["low"], f1["high"], f1["method"]) == (0, None, None, None)
    assert "every resample" in f1["reason"]


def test_tumours_that_turn_healthy_upside_down():
    # Class b is healthy. Of three tumours called tumours one turns; the fourth was missed anyhow, the fifth is healthy.
    shares = np.eye(3)[[0, 0, 2, 1, 1]]
    of = predictions([0, 0, 2, 0, 1], shares)
    result, rows = everything(of, turned=[0, 1, 2, 1, 1])
    assert result["upside_down_missed_tumours"] == pytest.approx(1 / 3)
    result, rows = everything(of, negative=None)
    assert result["upside_down_missed_tumours"] is None
    assert "negative_class" in record(rows, "upside_down_missed_tumours")["reason"]


def test_leaked_scans_are_held_against_clean_ones_within_classes_that_have_enough_of_both():
    # Of class a: 40 leaked ones, all right, and 40 clean ones, half right; of class b too few clean ones.
    actual = np.repeat([0, 0, 1, 1], [40, 40, 40, MIN_DISTINCT - 1])
    right = np.concatenate([np.ones(40, bool), np.arange(40) < 20, np.ones(69, bool)])
    shares = np.eye(2)[np.where(right, actual, 1 - actual)]
    leaked = np.repeat([True, False, True, False], [40, 40, 40, MIN_DISTINCT - 1])
    result, rows = everything(predictions(actual, shares, leaked=leaked), trained_on_copies=True)
    compared = result["leaked_against_clean"]
    assert (compared["a"]["leaked_accuracy"], compared["a"]["clean_accuracy"]) == (1, 0.5)
    assert compared["b"]["leaked_accuracy"] is None
    assert compared["b"]["clean_scans"] == MIN_DISTINCT - 1
    assert "30 distinct" in record(rows, "leaked_accuracy", "b")["reason"]
    assert compared["mean_over_classes"] == {"classes": "a", "leaked_accuracy": 1, "clean_accuracy": 0.5}
    assert "leaked_against_clean" not in everything(predictions(actual, shares, leaked=leaked))[0]


def test_temperature_changes_calibration_and_nothing_else():
    random = np.random.default_rng(0)
    shares = random.dirichlet([1, 1, 1], 80)
    sharp = shares**3 / (shares**3).sum(axis=1, keepdims=True)
    actual = random.integers(0, 3, 80)
    result, _ = everything(Predictions(actual, shares, sharp, np.arange(80), np.zeros(80, bool)))
    before, after = (result["calibration"][key] for key in ("before_temperature", "after_temperature"))
    assert before["nll"] == pytest.approx(metrics.log_loss(actual, sharp), abs=1e-9)
    assert after["nll"] == pytest.approx(metrics.log_loss(actual, shares), abs=1e-9)
    assert before["ece"] != after["ece"]
