"""The records and files made of the scores; what each score means is tested in test_metrics.py."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import CLASSES, labels, model_table, one_hot, table
from sklearn import metrics

from tumorclip.errors import UserError
from tumorclip.evaluate.intervals import MIN_DISTINCT, GroupBootstrap
from tumorclip.evaluate.score import distinct, evaluate, score_baselines, summarise
from tumorclip.tables import BaselinePredictions, ModelPredictions

# The original project's test predictions (rows: true class), from its evaluation_metrics.json, and what it published.
ORIGINAL = np.array([[99, 96, 0, 105], [9, 171, 52, 74], [2, 50, 313, 40], [3, 12, 5, 280]])
ORIGINAL_ACCURACY = 0.6583
ORIGINAL_TABLE = {
    "recall": [0.3300, 0.5588, 0.7728, 0.9333],
    "precision": [0.8761, 0.5198, 0.8459, 0.5611],
    "f1": [0.4794, 0.5386, 0.8077, 0.7009],
}
ORIGINAL_FILE = Path(__file__).parents[3] / "shared/seed/evaluation_metrics.json"


def certain(y_true, y_pred, class_names=CLASSES, **columns) -> ModelPredictions:
    return model_table(y_true, one_hot(y_pred, len(class_names)), class_names=class_names, **columns)


def of_confusion(confusion, class_names=CLASSES, negative="notumor") -> tuple[dict, list[dict]]:
    names = class_names[: len(confusion)]
    return evaluate(certain(*labels(np.asarray(confusion)), names), negative)


def column(test: dict, key: str) -> list:
    return [row[key] for row in test["classes"]]


def record(records: list[dict], score: str, class_name: str | None = None) -> dict:
    (row,) = [row for row in records if (row["score"], row["class"]) == (score, class_name)]
    return row


def test_the_original_projects_predictions_give_its_published_table():
    test, _ = of_confusion(ORIGINAL)
    assert round(test["accuracy"], 4) == ORIGINAL_ACCURACY
    for key, published in ORIGINAL_TABLE.items():
        assert [round(value, 4) for value in column(test, key)] == published
    assert column(test, "scans") == [300, 306, 405, 300]
    assert column(test, "predicted") == [113, 329, 370, 499]
    assert column(test, "predicted_as") == ORIGINAL.tolist()
    assert test["missed_tumours"] == (0 + 52 + 5) / (300 + 306 + 300)
    assert test["false_alarms"] == (2 + 50 + 40) / 405


@pytest.mark.skipif(not ORIGINAL_FILE.exists(), reason="the original project's files are not beside this repository")
def test_the_original_projects_own_file_gives_the_same():
    original = json.loads(ORIGINAL_FILE.read_text())
    y_true, y_pred = (np.array([CLASSES.index(name) for name in original[key]]) for key in ("all_labels", "all_preds"))
    test, _ = evaluate(certain(y_true, y_pred), "notumor")
    assert test["accuracy"] == pytest.approx(original["overall_accuracy"], abs=1e-9)
    for row in test["classes"]:
        published = original["class_metrics"][row["class"]]
        assert row["recall"] == pytest.approx(original["class_accuracies"][row["class"]], abs=1e-9)
        assert row["precision"] == pytest.approx(published["precision"], abs=1e-9)
        assert row["f1"] == pytest.approx(published["f1_score"], abs=1e-9)


def test_values_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    y_true, shares = random.integers(0, 4, 200), random.dirichlet(np.ones(4), 200)
    test, records = evaluate(model_table(y_true, shares), "notumor")
    y_pred = shares.argmax(axis=1)
    areas = [metrics.roc_auc_score(y_true == index, shares[:, index]) for index in range(4)]
    averages = [metrics.average_precision_score(y_true == index, shares[:, index]) for index in range(4)]
    expected = {
        "scans": 200,
        "accuracy": metrics.accuracy_score(y_true, y_pred),
        "balanced_accuracy": metrics.balanced_accuracy_score(y_true, y_pred),
        "macro_precision": metrics.precision_score(y_true, y_pred, average="macro"),
        "macro_f1": metrics.f1_score(y_true, y_pred, average="macro"),
        "mcc": metrics.matthews_corrcoef(y_true, y_pred),
        "cohen_kappa": metrics.cohen_kappa_score(y_true, y_pred),
        "macro_auroc": np.mean(areas),
        "macro_average_precision": np.mean(averages),
        "missed_tumours": np.mean(y_pred[y_true != 2] == 2),
        "false_alarms": np.mean(y_pred[y_true == 2] != 2),
    }
    assert {key: test[key] for key in expected} == pytest.approx(expected, abs=1e-9)
    assert column(test, "auroc") == pytest.approx(areas, abs=1e-9)
    assert column(test, "average_precision") == pytest.approx(averages, abs=1e-9)
    for name in ("accuracy", "macro_f1", "mcc", "macro_auroc"):
        found = record(records, name)
        assert found["low"] < found["value"] == test[name] < found["high"]


def test_a_class_that_is_never_predicted_has_no_precision_and_f1_zero():
    test, records = of_confusion([[5, 0, 0], [1, 4, 0], [2, 1, 0]])
    assert column(test, "precision") == [5 / 8, 4 / 5, None]
    assert column(test, "recall") == [1, 4 / 5, 0]
    assert column(test, "f1")[2] == 0
    # A mean over the first two alone would be better than the one of a model that tries the third.
    assert test["macro_precision"] is None
    assert record(records, "precision", "notumor")["reason"] == "notumor is never predicted"
    assert test["macro_f1"] == pytest.approx((10 / 13 + 8 / 10 + 0) / 3)


def test_a_class_without_test_scans_has_no_recall():
    test, records = of_confusion([[5, 1], [0, 0]], negative="meningioma")
    assert column(test, "recall") == [5 / 6, None]
    assert column(test, "precision") == [1, 0]
    assert test["balanced_accuracy"] is None
    assert test["missed_tumours"] == 1 / 6
    assert test["false_alarms"] is None
    assert record(records, "false_alarms")["reason"] == "no test scan is healthy"


def test_without_a_negative_class_nothing_is_missed_or_alarmed():
    test, records = of_confusion(ORIGINAL, negative=None)
    for name in ("missed_tumours", "false_alarms", "upside_down_missed_tumours"):
        assert test[name] is None
        assert record(records, name)["reason"] == "evaluate.negative_class is null"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "confusion", [ORIGINAL, [[5, 0], [1, 0]], [[5, 1], [0, 0]], [[1, 0], [0, 0]], [[1, 0], [0, 1]]]
)
def test_the_result_is_plain_json_without_a_warning(confusion):
    found = of_confusion(confusion, negative="glioma")
    assert json.loads(json.dumps(found, allow_nan=False)) == list(found)


def test_nothing_to_score_and_an_unknown_class_are_one_line():
    with pytest.raises(UserError, match="no test scan"):
        of_confusion(np.zeros((4, 4), int))
    with pytest.raises(UserError, match="negative_class is 'healthy', but the predictions know glioma, "):
        of_confusion(ORIGINAL, negative="healthy")


@settings(max_examples=40, deadline=None)
@given(
    y_true=st.lists(st.integers(0, 2), min_size=1, max_size=12),
    shares=st.lists(st.sampled_from([(1, 0, 0), (0, 1, 0), (0.5, 0.5, 0), (0.2, 0.3, 0.5), (1 / 3,) * 3]), min_size=12),
    groups=st.lists(st.integers(0, 4), min_size=12),
    leaked=st.lists(st.booleans(), min_size=12),
)
@pytest.mark.filterwarnings("error")
def test_any_predictions_have_a_value_within_its_interval_or_a_reason(y_true, shares, groups, leaked):
    count = len(y_true)
    columns = {"group": groups[:count], "leaked": np.array(leaked[:count]), "exposed": np.ones(count, bool)}
    predictions = model_table(y_true, shares[:count], class_names="abc", **columns)
    test, records = evaluate(predictions, "b")
    assert json.loads(json.dumps([test, records], allow_nan=False)) == [test, records]
    for row in records:
        if row["value"] is None:
            assert row["reason"]
        if row["low"] is None:
            assert row["reason"]
            assert row["method"] is None
        else:
            assert row["low"] - 1e-12 <= row["value"] <= row["high"] + 1e-12 or row["method"] == "bootstrap"
    for index, name in enumerate("abc"):
        own = np.array(y_true) == index
        mine = test["classes"][index]
        if own.any() and not own.all():
            expected = metrics.roc_auc_score(own, predictions.probabilities[:, index])
            assert mine["auroc"] == pytest.approx(expected, abs=1e-9)
        else:
            assert mine["auroc"] is None
            assert name in record(records, "auroc", name)["reason"]


def test_copies_of_a_scan_have_one_vote():
    shares = [[0.6, 0.4], [0.6, 0.4], [0.0, 1.0], [0.9, 0.1], [0.2, 0.8], [0.2, 0.8]]
    predictions = model_table([0, 0, 0, 0, 1, 0], shares, group=[7, 7, 7, 3, 5, 5])
    voted = distinct(predictions)
    # Group 7 is of the second class by its mean, 0.4 to 0.6, although two of three files say the first.
    # Group 5 stands under both classes.
    assert [each.tolist() for each in (voted.y_true, voted.y_pred, voted.group)] == [[0, 0], [0, 1], [3, 7]]
    assert voted.probabilities == pytest.approx(np.array([[0.9, 0.1], [0.4, 0.6]]))
    assert voted.path.tolist() == ["0003.jpg", "0000.jpg"]
    test, records = evaluate(predictions, None)
    assert list(test["per_distinct_scan"].items()) == [
        ("accuracy", 0.5),
        ("balanced_accuracy", None),
        ("macro_f1", pytest.approx((2 / 3 + 0) / 2)),
        ("scans", 2),
        ("conflicting_groups_left_out", 1),
    ]
    assert record(records, "accuracy_per_distinct_scan")["value"] == 0.5
    assert column(test, "distinct") == [3, 1]


def test_where_every_group_stands_under_several_classes_there_is_no_distinct_scan():
    test, records = evaluate(certain([0, 1], [0, 0], group=[4, 4]), "notumor")
    assert test["per_distinct_scan"]["scans"] == 0 and test["per_distinct_scan"]["accuracy"] is None
    assert "several classes" in record(records, "accuracy_per_distinct_scan")["reason"]


def test_the_interval_of_accuracy_counts_groups_not_files():
    wrong = np.random.default_rng(0).random(250) < 0.3
    shares = np.where(wrong[:, None], [[0.1, 0.9]], [[0.9, 0.1]])
    _, alone = evaluate(model_table(np.zeros(250), shares), None)
    tenfold = model_table(np.zeros(2500), np.repeat(shares, 10, axis=0), group=np.repeat(np.arange(250), 10))
    _, repeated = evaluate(tenfold, None)
    assert record(alone, "accuracy") == pytest.approx(record(repeated, "accuracy"))
    assert record(alone, "accuracy")["method"] == "bootstrap"


def test_a_score_that_is_the_same_in_every_resample_has_no_interval():
    # The third class is never predicted: its F1 is 0 whatever is drawn, which does not make it certain.
    shares = np.tile([0.6, 0.3, 0.1], (120, 1))
    shares[40:70] = [0.3, 0.6, 0.1]
    _, records = evaluate(model_table(np.repeat([0, 1, 2], 40), shares), None)
    f1 = record(records, "f1", "notumor")
    assert (f1["value"], f1["low"], f1["high"], f1["method"]) == (0, None, None, None)
    assert "every resample" in f1["reason"]


def test_tumours_that_turn_healthy_upside_down():
    # The second class is healthy. Of three tumours called tumours one turns; the fourth was missed anyhow.
    predictions = certain([0, 0, 2, 0, 1], [0, 0, 2, 1, 1], upside_down=np.array([0, 1, 2, 1, 1]))
    assert evaluate(predictions, "meningioma")[0]["upside_down_missed_tumours"] == pytest.approx(1 / 3)


def test_leaked_scans_are_held_against_clean_ones_within_classes_that_have_enough_of_both():
    # Of the first class: 40 leaked ones, all right, and 40 clean ones, half right; of the second too few clean ones.
    sizes = [40, 40, 40, MIN_DISTINCT - 1]
    y_true, leaked = np.repeat([0, 0, 1, 1], sizes), np.repeat([True, False, True, False], sizes)
    right = np.concatenate([np.ones(40, bool), np.arange(40) < 20, np.ones(69, bool)])
    y_pred = np.where(right, y_true, 1 - y_true)
    predictions = certain(y_true, y_pred, ("a", "b"), leaked=leaked, exposed=leaked)
    test, records = evaluate(predictions, None)
    a, b, mean = test["leaked_against_clean"]
    bootstrap = GroupBootstrap(np.arange(len(y_true)))
    _, clean = bootstrap.share(right, (y_true == 0) & ~leaked)
    assert a == {
        "class": "a",
        **{"leaked_scans": 40, "leaked_distinct": 40, "leaked_accuracy": 1, "leaked_high": 1},
        "leaked_low": pytest.approx(0.025 ** (1 / 40)),
        **{"clean_scans": 40, "clean_distinct": 40, "clean_accuracy": 0.5},
        **{"clean_low": clean.low, "clean_high": clean.high},
    }
    assert b["leaked_accuracy"] is None and b["clean_scans"] == MIN_DISTINCT - 1
    assert "30 distinct" in record(records, "leaked_accuracy", "b")["reason"]
    assert (mean["class"], mean["leaked_accuracy"], mean["clean_accuracy"]) == (None, 1, 0.5)
    assert (mean["leaked_scans"], mean["leaked_low"]) == (40, None)
    clean = certain(y_true, y_pred, ("a", "b"), leaked=leaked)
    assert evaluate(clean, None)[0]["leaked_against_clean"] == []


def test_calibration_is_given_before_and_after_temperature():
    random = np.random.default_rng(0)
    logits, y_true = random.normal(0, 2, (80, 3)), random.integers(0, 3, 80)
    before, after = (np.exp(each) / np.exp(each).sum(axis=1, keepdims=True) for each in (logits, logits / 2))
    test, _ = evaluate(model_table(y_true, after, logits=logits), None)
    found = test["calibration"]
    assert found["nll"] == pytest.approx(metrics.log_loss(y_true, after), abs=1e-9)
    assert found["nll_before"] == pytest.approx(metrics.log_loss(y_true, before), abs=1e-9)
    brier = metrics.brier_score_loss(y_true, before, scale_by_half=False)
    assert found["brier_before"] == pytest.approx(brier, abs=1e-9)
    assert list(found) == ["nll", "brier", "ece", "nll_before", "brier_before", "ece_before", "ece_if_calibrated"]
    assert found["ece"] != found["ece_before"]


@pytest.mark.filterwarnings("error")
def test_reliability_compares_confidence_with_accuracy_and_leaves_empty_bins_without_a_value():
    # Predictions of 0.61 and 0.65, one of them right, and three above 14 / 15, two of them right.
    top = np.array([0.61, 0.65, 0.99, 0.98, 0.97])
    y_true = [0, 1, 0, 0, 1]
    test, _ = evaluate(model_table(y_true, np.stack([top, 1 - top], axis=1), logits=np.zeros((5, 2))), None)
    rows = test["reliability"]
    assert [row["scans"] for row in rows] == [0] * 9 + [2] + [0] * 4 + [3]
    assert [rows[index]["confidence"] for index in (9, 14)] == pytest.approx([0.63, 0.98])
    assert [rows[index]["accuracy"] for index in (9, 14)] == pytest.approx([1 / 2, 2 / 3])
    assert (rows[9]["from"], rows[14]["to"]) == (9 / 15, 1)
    assert rows[14]["low"] < 2 / 3 < rows[14]["high"]
    # Logits that are all alike put every scan at one half.
    assert [row["scans_before"] for row in rows] == [0] * 7 + [5] + [0] * 7
    assert (rows[7]["confidence_before"], rows[7]["accuracy_before"]) == (0.5, 0.6)
    keys = ("confidence", "accuracy", "low", "high", "confidence_before", "accuracy_before")
    assert [rows[0][key] for key in keys] == [None] * 6
    gaps = sum(row["scans"] * abs(row["confidence"] - row["accuracy"]) for row in rows if row["scans"])
    assert test["calibration"]["ece"] == pytest.approx(gaps / 5, abs=1e-9)


def test_accuracy_by_similarity_has_bins_that_hold_their_lower_edge():
    similarity = np.array([-0.3, 0.69, 0.7, 0.97, 0.98, 1.0])
    predictions = certain([0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 0, 0], group=[0, 0, 1, 2, 3, 3], similarity=similarity)
    test, _ = evaluate(predictions, None)
    rows = test["similarity"]
    assert [(row["from"], row["to"]) for row in rows] == [
        (-1, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 0.95), (0.95, 0.98), (0.98, 1),
    ]  # fmt: skip
    assert [row["scans"] for row in rows] == [2, 1, 0, 0, 1, 2]
    assert [row["distinct"] for row in rows] == [1, 1, 0, 0, 1, 1]
    assert [row["accuracy"] for row in rows] == [0.5, 1, None, None, 1, 0]


def test_keys_are_never_a_classs_name():
    names = ("accuracy", "baselines", "classes", "mean_over_classes", "total")
    y_true = np.repeat(np.arange(5), 80)
    y_pred = np.where(np.arange(400) % 3 == 0, (y_true + 1) % 5, y_true)
    columns = {"class_names": names, "leaked": np.arange(400) % 2 == 0, "exposed": np.ones(400, bool)}
    predictions = model_table(y_true, one_hot(y_pred, 5), **columns)
    test, records = evaluate(predictions, "total")
    other = model_table(y_true, one_hot(y_pred, 5), **columns | {"class_names": tuple("abcde")})
    expected, expected_records = evaluate(other, "e")

    def keys(value) -> object:
        """The value with all but its keys left out."""
        if isinstance(value, dict):
            return {key: keys(each) for key, each in value.items()}
        return [keys(each) for each in value] if isinstance(value, list) else None

    assert keys(test) == keys(expected) and keys(records) == keys(expected_records)
    assert test["accuracy"] == expected["accuracy"] == pytest.approx(266 / 400)
    assert [row["class"] for row in test["classes"]] == list(names)
    assert [row["class"] for row in test["leaked_against_clean"]] == [*names, None]


def baselines_of(**predicted) -> BaselinePredictions:
    tables = []
    for name, (y_true, y_pred, group) in predicted.items():
        columns = {"kind": BaselinePredictions, "baseline": np.full(len(y_true), name)}
        tables.append(table(y_true, one_hot(y_pred, 3), group, "abc", **columns))
    return BaselinePredictions.concatenate(tables)


def test_baselines_are_scored_as_the_model_is():
    random = np.random.default_rng(0)
    y_true, group = np.repeat(random.integers(0, 3, 300), 2), np.arange(600) // 2
    y_pred = np.where(random.random(600) < 0.8, y_true, random.integers(0, 3, 600))
    one, right = score_baselines(baselines_of(one=(y_true, y_pred, group), all_right=(y_true, y_true, group)), "b")
    test, records = evaluate(certain(y_true, y_pred, ("a", "b", "c"), group=group), "b")
    assert (one["baseline"], right["baseline"]) == ("one", "all_right")
    for key in ("accuracy", "balanced_accuracy", "macro_f1", "missed_tumours", "false_alarms"):
        assert one[key] == test[key]
    assert one["accuracy"] == pytest.approx(metrics.accuracy_score(y_true, y_pred), abs=1e-9)
    for key in ("low", "high", "method", "reason"):
        assert one[key] == record(records, "accuracy")[key]
    assert (one["method"], right["method"]) == ("bootstrap", "exact")
    doubled = np.repeat(y_pred[::2], 2)
    single, double = (
        score_baselines(baselines_of(one=(y_true, doubled, groups)), None)[0] for groups in (np.arange(600), group)
    )
    assert double["high"] - double["low"] > 1.25 * (single["high"] - single["low"])
    assert double["missed_tumours"] is None


def test_the_summary_holds_none_where_there_is_no_value():
    test, records = of_confusion([[2, 0], [0, 0]], negative=None)
    summary = summarise(test, records, [{"accuracy": 0.0}], exposed=0, best_epoch=1)
    assert (summary["accuracy"], summary["macro_f1"]) == (1, None)


def test_the_summary_has_what_a_person_compares_first():
    test, records = of_confusion(ORIGINAL)
    baselines = [{"accuracy": 0.4}, {"accuracy": 0.61234}]
    summary = summarise(test, records, baselines, exposed=7, best_epoch=3)
    interval = record(records, "accuracy")
    assert summary == {
        "accuracy": ORIGINAL_ACCURACY,
        "low": round(interval["low"], 4),
        "high": round(interval["high"], 4),
        "macro_f1": round(test["macro_f1"], 4),
        "best_baseline": 0.6123,
        "leaked": 7,
        "best_epoch": 3,
    }
