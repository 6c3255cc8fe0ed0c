"""The records and files made of the scores; what each score means is tested in test_metrics.py."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from tests.made import CLASSES, labels, model_table, one_hot, table
from trueslice.errors import UserError
from trueslice.evaluate import score
from trueslice.evaluate.intervals import RULES
from trueslice.evaluate.score import distinct_weights, score_baselines, summarise, unit
from trueslice.params import Evaluate
from trueslice.records.baselines import Baseline, Baselines
from trueslice.records.intervals import Intervals, Score, Unit
from trueslice.records.patients import PatientScores
from trueslice.records.test import ModelScores
from trueslice.records.train import Training
from trueslice.records.withheld import AnsweredScans, Promise, Withheld
from trueslice.tables.predictions import BaselinePredictions, ModelPredictions

# The original project's test predictions (rows: true class), from its evaluation_metrics.json, and what it published.
ORIGINAL = np.array([[99, 96, 0, 105], [9, 171, 52, 74], [2, 50, 313, 40], [3, 12, 5, 280]])
ORIGINAL_ACCURACY = 0.6583
ORIGINAL_TABLE = {
    "recall": [0.3300, 0.5588, 0.7728, 0.9333],
    "precision": [0.8761, 0.5198, 0.8459, 0.5611],
    "f1": [0.4794, 0.5386, 0.8077, 0.7009],
}


def evaluate(predictions: ModelPredictions, negative_class: str | None, labels=None) -> tuple[ModelScores, Intervals]:
    """With thresholds chosen on the test scans themselves; test_tumour.py has others."""
    asked = {"by": [], "sensitivities": [0.9], "prevalences": [0.1], "max_error": None}
    return score.evaluate(predictions, predictions, labels or {}, Evaluate(negative_class=negative_class, **asked))


def certain(y_true, y_pred, class_names=CLASSES, **columns) -> ModelPredictions:
    return model_table(y_true, one_hot(y_pred, len(class_names)), class_names=class_names, **columns)


def of_confusion(confusion, class_names=CLASSES, negative="notumor") -> tuple[ModelScores, Intervals]:
    names = class_names[: len(confusion)]
    return evaluate(certain(*labels(np.asarray(confusion)), names), negative)


def column(test: ModelScores, name: str) -> list:
    return [getattr(row, name) for row in test.classes]


def test_the_original_projects_predictions_give_its_published_table():
    test, _ = of_confusion(ORIGINAL)
    assert round(test.accuracy, 4) == ORIGINAL_ACCURACY
    for key, published in ORIGINAL_TABLE.items():
        assert [round(value, 4) for value in column(test, key)] == published
    assert column(test, "scans") == [300, 306, 405, 300]
    assert column(test, "predicted") == [113, 329, 370, 499]
    assert column(test, "predicted_as") == ORIGINAL.tolist()
    assert test.missed_tumours == (0 + 52 + 5) / (300 + 306 + 300)
    assert test.false_alarms == (2 + 50 + 40) / 405


def test_a_class_that_is_never_predicted_has_no_precision_and_neither_has_the_mean():
    test, records = of_confusion([[5, 0, 0], [1, 4, 0], [2, 1, 0]])
    assert column(test, "precision") == [5 / 8, 4 / 5, None] and test.macro_precision is None
    assert records.find("precision", "notumor").reason == "notumor is never predicted"


def test_a_class_without_test_scans_has_no_recall():
    test, records = of_confusion([[5, 1], [0, 0]], negative="meningioma")
    assert column(test, "recall") == [5 / 6, None]
    assert column(test, "precision") == [1, 0]
    assert test.balanced_accuracy is None
    assert test.missed_tumours == 1 / 6
    assert test.false_alarms is None
    assert records.find("false_alarms").reason == "no test scan is healthy"


def test_without_a_negative_class_nothing_is_missed_or_alarmed():
    test, records = of_confusion(ORIGINAL, negative=None)
    for name in ("missed_tumours", "false_alarms", "upside_down_missed_tumours"):
        assert getattr(test, name) is None
        assert records.find(name).reason == "evaluate.negative_class is null"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "confusion", [ORIGINAL, [[5, 0], [1, 0]], [[5, 1], [0, 0]], [[1, 0], [0, 0]], [[1, 0], [0, 1]]]
)
def test_the_result_is_plain_json_without_a_warning(confusion):
    for record in of_confusion(confusion, negative="glioma"):
        assert type(record).model_validate(json.loads(record.text())) == record


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
    exposure=st.lists(st.sampled_from(["copy", "patient", "neither", "unknown"]), min_size=12),
)
@pytest.mark.filterwarnings("error")
def test_any_predictions_have_a_value_within_its_interval_or_a_reason(y_true, shares, groups, exposure):
    count = len(y_true)
    columns = {"group": groups[:count], "exposure": np.array(exposure[:count])}
    predictions = model_table(y_true, shares[:count], class_names="abc", **columns)
    test, records = evaluate(predictions, "b", {"mode": columns["exposure"]})
    for row in records.intervals:
        if row.value is None:
            assert row.reason
        if row.low is None:
            assert row.reason
            assert row.method is None
        else:
            lowest, highest = RULES[row.score].ends if row.score in RULES else (0, 1)
            assert lowest <= row.low <= row.value + 1e-12 and row.value - 1e-12 <= row.high <= highest + 1e-12
    for index, name in enumerate("abc"):
        own = np.array(y_true) == index
        mine = test.classes[index]
        if own.any() and not own.all():
            expected = metrics.roc_auc_score(own, predictions.probabilities[:, index])
            assert mine.auroc == pytest.approx(expected, abs=1e-9)
        else:
            assert mine.auroc is None
            assert name in records.find("auroc", name).reason


def test_every_group_of_copies_weighs_the_same_by_the_mean_of_its_scans():
    shares = [[0.6, 0.4], [0.6, 0.4], [0.0, 1.0], [0.9, 0.1], [0.2, 0.8], [0.2, 0.8]]
    predictions = model_table([0, 0, 0, 0, 1, 0], shares, group=[7, 7, 7, 3, 5, 5])
    # Two of three copies in group 7 are right; group 5 is in both classes.
    assert distinct_weights(predictions).tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1, 0, 0])
    test, records = evaluate(predictions, None)
    assert list(test.per_distinct_scan) == [
        ("accuracy", pytest.approx((2 / 3 + 1) / 2)),
        ("balanced_accuracy", None),
        ("macro_f1", pytest.approx((2 * 5 / 3 / (2 + 5 / 3) + 0) / 2)),
        ("scans", 2),
        ("conflicting_groups_left_out", 1),
    ]
    assert records.find("accuracy_per_distinct_scan").value == pytest.approx(5 / 6)
    assert column(test, "distinct") == [3, 1]


def test_per_distinct_scan_units_are_patients_too():
    right = np.random.default_rng(0).random(120) < 0.7
    columns = {"class_names": ("a", "b"), "group": np.arange(120) // 2}
    rows = [certain(np.zeros(120), ~right, unit=np.arange(120) // size, **columns) for size in (2, 12)]
    widths = []
    for row in rows:
        found = evaluate(row, None)[1].find("accuracy_per_distinct_scan")
        assert found.value == pytest.approx(right.mean())
        widths.append(found.high - found.low)
    assert widths[1] > 1.8 * widths[0]


def test_where_every_group_is_in_several_classes_there_is_no_distinct_scan():
    test, records = evaluate(certain([0, 1], [0, 0], group=[4, 4]), "notumor")
    assert test.per_distinct_scan.scans == 0 and test.per_distinct_scan.accuracy is None
    assert "several classes" in records.find("accuracy_per_distinct_scan").reason


def test_a_score_that_no_unit_changes_is_not_certain():
    # The third class is never predicted: its F1 is 0 without any of its units.
    shares = np.tile([0.6, 0.3, 0.1], (120, 1))
    shares[40:70] = [0.3, 0.6, 0.1]
    _, records = evaluate(model_table(np.repeat([0, 1, 2], 40), shares), None)
    f1 = records.find("f1", "notumor")
    assert (f1.value, f1.low, f1.method) == (0, 0, "wilson") and 0.05 < f1.high < 0.3


def test_tumours_that_turn_healthy_upside_down():
    # The second class is healthy. Of three tumours called tumours one turns; the fourth was missed anyhow.
    predictions = certain([0, 0, 2, 0, 1], [0, 0, 2, 1, 1], upside_down=np.array([0, 1, 2, 1, 1]))
    assert evaluate(predictions, "meningioma")[0].upside_down_missed_tumours == pytest.approx(1 / 3)


def test_calibration_is_given_before_and_after_temperature():
    random = np.random.default_rng(0)
    logits, y_true = random.normal(0, 2, (80, 3)), random.integers(0, 3, 80)
    before, after = (np.exp(each) / np.exp(each).sum(axis=1, keepdims=True) for each in (logits, logits / 2))
    test, test_records = evaluate(model_table(y_true, after, logits=logits), None)
    found = test.calibration
    assert found.nll == pytest.approx(metrics.log_loss(y_true, after), abs=1e-9)
    assert found.nll_before == pytest.approx(metrics.log_loss(y_true, before), abs=1e-9)
    brier = metrics.brier_score_loss(y_true, before, scale_by_half=False)
    assert found.brier_before == pytest.approx(brier, abs=1e-9)
    change = test_records.find("nll").value - found.nll_before
    assert found.nll_change == pytest.approx(change)
    assert found.ece != found.ece_before


@pytest.mark.filterwarnings("error")
def test_reliability_compares_confidence_with_accuracy_and_leaves_empty_bins_without_a_value():
    # Predictions of 0.61 and 0.65, one of them right, and three above 14 / 15, two of them right.
    top = np.array([0.61, 0.65, 0.99, 0.98, 0.97])
    y_true = [0, 1, 0, 0, 1]
    test, _ = evaluate(model_table(y_true, np.stack([top, 1 - top], axis=1), logits=np.zeros((5, 2))), None)
    rows = test.reliability
    assert [row.scans for row in rows] == [0] * 9 + [2] + [0] * 4 + [3]
    assert [rows[index].confidence for index in (9, 14)] == pytest.approx([0.63, 0.98])
    assert [rows[index].accuracy for index in (9, 14)] == pytest.approx([1 / 2, 2 / 3])
    assert (rows[9].lower, rows[14].upper) == (9 / 15, 1)
    assert rows[14].low < 2 / 3 < rows[14].high
    # Logits that are all alike put every scan at one half.
    assert [row.scans_before for row in rows] == [0] * 7 + [5] + [0] * 7
    assert (rows[7].confidence_before, rows[7].accuracy_before) == (0.5, 0.6)
    keys = ("confidence", "accuracy", "low", "high", "confidence_before", "accuracy_before")
    assert [getattr(rows[0], key) for key in keys] == [None] * 6
    gaps = sum(row.scans * abs(row.confidence - row.accuracy) for row in rows if row.scans)
    assert test.calibration.ece == pytest.approx(gaps / 5, abs=1e-9)


def test_accuracy_by_similarity_has_bins_that_hold_their_lower_edge():
    similarity = np.array([-0.3, 0.69, 0.7, 0.97, 0.98, 1.0])
    predictions = certain([0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 0, 0], group=[0, 0, 1, 2, 3, 3], similarity=similarity)
    test, _ = evaluate(predictions, None)
    rows = test.similarity
    assert [(row.lower, row.upper) for row in rows] == [
        (-1, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 0.95), (0.95, 0.98), (0.98, 1),
    ]  # fmt: skip
    assert [row.scans for row in rows] == [2, 1, 0, 0, 1, 2]
    assert [row.distinct for row in rows] == [1, 1, 0, 0, 1, 1]
    assert [row.accuracy for row in rows] == [0.5, 1, None, None, 1, 0]


def baselines_of(**predicted) -> BaselinePredictions:
    tables = []
    for name, (y_true, y_pred, group) in predicted.items():
        columns = {"kind": BaselinePredictions, "baseline": np.full(len(y_true), name)}
        tables.append(table(y_true, one_hot(y_pred, 3), group, "abc", **columns))
    return BaselinePredictions.concatenate(tables)


def test_baselines_are_scored_as_the_model_is_and_held_against_it():
    random = np.random.default_rng(0)
    y_true, group = np.repeat(random.integers(0, 3, 500), 2), np.arange(1000) // 2
    y_pred = np.where(random.random(1000) < 0.8, y_true, random.integers(0, 3, 1000))
    model = certain(y_true, y_true, ("a", "b", "c"), group=group)
    tables = baselines_of(one=(y_true, y_pred, group), all_right=(y_true, y_true, group))
    one, right = score_baselines(tables, model, "b").baselines
    test, records = evaluate(certain(y_true, y_pred, ("a", "b", "c"), group=group), "b")
    assert (one.baseline, right.baseline) == ("one", "all_right")
    for key in ("accuracy", "balanced_accuracy", "macro_f1", "missed_tumours", "false_alarms"):
        assert getattr(one, key) == getattr(test, key)
    assert one.accuracy == pytest.approx(metrics.accuracy_score(y_true, y_pred), abs=1e-9)
    for key in ("low", "high", "method", "reason", "covers"):
        assert getattr(one, key) == getattr(records.find("accuracy"), key)
    assert (one.method, right.method) == ("bootstrap", "exact")
    assert one.difference == pytest.approx(1 - one.accuracy)
    assert (one.accuracy_copy, one.accuracy_neither) == (None, None)
    assert 0 < one.difference_low < one.difference < one.difference_high
    # The same predictions: nothing differs, and nothing says by how much it might.
    assert (right.difference, right.difference_low) == (0, None) and right.difference_reason
    doubled = np.repeat(y_pred[::2], 2)
    single, double = (
        score_baselines(baselines_of(one=(y_true, doubled, groups)), model, None).baselines[0]
        for groups in (np.arange(1000), group)
    )
    assert double.high - double.low > 1.25 * (single.high - single.low)
    assert double.missed_tumours is None


@pytest.mark.parametrize(
    ("patient", "name", "patients"),
    [
        (["", "", ""], "group of copies", 0),
        (["x", "x", "y"], "patient", 2),
        (["x", "", "y"], "patient, or group of copies where none is known", 2),
    ],
)
def test_the_unit_is_named_and_counted(patient, name, patients):
    found = unit(certain([0, 1, 1], [0, 1, 1], patient=np.array(patient), unit=np.array([0, 0, 2])))
    assert found == Unit(name=name, count=2, patients=patients, scans_without_patient=patient.count(""))


def test_risk_is_given_for_what_the_model_is_surest_of():
    # The surest half is right, half of the rest wrong.
    top = np.linspace(0.99, 0.6, 200)
    y_true = np.where((np.arange(200) >= 100) & (np.arange(200) % 2 == 1), 1, 0)
    found = evaluate(model_table(y_true, np.stack([top, 1 - top], axis=1)), None)[0].risk_coverage
    assert [row.coverage for row in found.rows] == pytest.approx(np.arange(1, 21) / 20)
    risks = [row.risk for row in found.rows]
    assert risks[:10] == [0] * 10 and risks[-1] == 0.25
    assert found.low < found.area < found.high and found.method == "wilson"


def compared(*rows: tuple[float, float | None]) -> Baselines:
    """Baselines of this accuracy, and the lower limit of how far the model is ahead."""
    made = [Baseline.model_construct(accuracy=accuracy, difference_low=low) for accuracy, low in rows]
    return Baselines.model_construct(baselines=made)


NO_PROMISE = Withheld(promise=None, reason="evaluate.max_error is null", rows=[])


def per_patient(accuracy: float | None) -> PatientScores:
    """Scores per patient; None if no patient is known."""
    found = Score.model_construct(score="accuracy", class_name=None, value=accuracy)
    return PatientScores.model_construct(scores=[found] if accuracy else [])


TRAINING = Training.model_construct(best_epoch=3, val_loss=0.123456)


def test_the_summary_holds_none_where_there_is_no_value():
    test, records = of_confusion([[2, 0], [0, 0]], negative=None)
    summary = summarise(test, records, compared((0.0, None)), TRAINING, NO_PROMISE, per_patient(None))
    assert (summary.accuracy, summary.macro_f1, summary.ahead, summary.per_patient) == (1, None, None, None)
    assert summary.recall == {"glioma": 1, "meningioma": None}


def test_the_summary_has_what_a_person_compares_first():
    y_true, y_pred = labels(ORIGINAL)
    exposure = np.where(np.arange(len(y_true)) < 7, "copy", np.where(np.arange(len(y_true)) < 10, "patient", "neither"))
    test, records = evaluate(certain(y_true, y_pred, exposure=exposure), "notumor")
    compare = compared((0.4, 0.2), (0.61234, 0.01239))
    summary = summarise(test, records, compare, TRAINING, NO_PROMISE, per_patient(0.98765))
    interval = records.find("accuracy")
    assert json.loads(summary.text()) == {
        "accuracy": ORIGINAL_ACCURACY,
        "low": round(interval.low, 4),
        "high": round(interval.high, 4),
        "per_patient": 0.9877,
        "macro_f1": round(test.macro_f1, 4),
        "recall": {name: round(share, 4) for name, share in zip(CLASSES, column(test, "recall"), strict=True)},
        "nll": round(test.calibration.nll, 4),
        "val_loss": 0.1235,
        "best_epoch": 3,
        "baseline": 0.6123,
        "ahead": 0.0124,
        "copy": 7,
        "patient": 3,
    }
    of_all = {"by": "all", "value_of": None, "scans": 11, "answered": 0.81234, "wrong": 0.039}
    row = AnsweredScans(**of_all, answered_low=0.7, answered_high=0.9, wrong_low=0.01, wrong_high=0.1)
    promise = Promise(max_error=0.1, holds_with=0.9, threshold=0.8, scans=100, independent=50)
    answered = Withheld(promise=promise, reason=None, rows=[row])
    summary = summarise(test, records, compare, TRAINING, answered, per_patient(None))
    assert list(json.loads(summary.text()).items())[-2:] == [("answered", 0.8123), ("wrong", 0.039)]
