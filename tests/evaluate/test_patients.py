"""Scores per patient, against the same computed plainly."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import average_precision_score, f1_score, recall_score, roc_auc_score

from tests.made import CLASSES, table
from trueslice.evaluate import patients
from trueslice.evaluate.intervals import wilson_interval
from trueslice.params import Evaluate
from trueslice.tables.predictions import Predictions

PARAMS = Evaluate(negative_class="notumor", by=[], sensitivities=[0.9], prevalences=[], max_error=None)
LABELS = range(4)


def cohort(count: int = 60, seed: int = 0, healthy: bool = True, **columns) -> Predictions:
    """Patients with one to seven scans, of which the last is there twice; without `healthy`, these have no patient."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, 8, count)
    patient = np.repeat(np.arange(count), sizes)
    y_true, distinct = patient % 4, np.arange(len(patient))
    logits = (
        generator.normal(size=(len(patient), 4)) + 1.5 * np.eye(4)[y_true] + generator.normal(size=(count, 4))[patient]
    )
    rows = np.sort(np.r_[distinct, np.flatnonzero(np.diff(patient, append=-1))])
    # A copy is another file of the same scan, and is not answered quite alike.
    logits = logits[rows] + 0.1 * generator.normal(size=(len(rows), 4))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = np.array([f"p{each}" if healthy or each % 4 != 2 else "" for each in patient[rows]])
    exposure = np.where(patient[rows] % 3 == 0, "patient", "neither")
    given = {"patient": names, "exposure": exposure, "unit": patient[rows], "group": rows}
    return table(y_true[rows], shares, **given | columns)


def plainly(predictions: Predictions) -> dict[str, tuple[int, np.ndarray, int]]:
    """Class, mean probabilities and number of distinct scans of each patient, in loops."""
    found = {}
    for name in np.unique(predictions.patient[predictions.patient != ""]).tolist():
        own = predictions.take(predictions.patient == name)
        scans = [own.probabilities[own.group == group].mean(axis=0) for group in np.unique(own.group)]
        found[name] = (int(own.y_true[0]), np.mean(scans, axis=0), len(scans))
    return found


def value(found, score: str, class_name: str | None = None) -> float:
    return found.find(score, class_name).value


def test_a_patient_is_answered_by_the_mean_over_distinct_scans_and_counts_once():
    test, validation = cohort(), cohort(seed=1)
    found, expected = patients.score(test, validation, PARAMS), plainly(test)
    y_true = np.array([each[0] for each in expected.values()])
    means = np.array([each[1] for each in expected.values()])
    numbers = np.array([each[2] for each in expected.values()])
    y_pred = means.argmax(axis=1)
    assert (found.patients, found.scans, found.most_scans) == (60, numbers.sum(), numbers.max())
    assert value(found, "accuracy") == pytest.approx((y_pred == y_true).mean())
    assert value(found, "accuracy") > value(found, "accuracy_of_few_scans") > value(found, "accuracy_of_one_scan")
    low, high = wilson_interval(value(found, "accuracy"), 60)
    assert found.find("accuracy").low == pytest.approx(low, abs=0.004)
    assert found.find("accuracy").high == pytest.approx(high, abs=0.004)
    tempered = means ** (1 / found.temperature)
    tempered /= tempered.sum(axis=1, keepdims=True)
    assert value(found, "nll") == pytest.approx(-np.log(tempered[np.arange(60), y_true]).mean())
    for name, expected_values in {
        "recall": recall_score(y_true, y_pred, average=None, labels=LABELS),
        "f1": f1_score(y_true, y_pred, average=None, labels=LABELS),
        "auroc": [roc_auc_score(y_true == each, tempered[:, each]) for each in LABELS],
        "average_precision": [average_precision_score(y_true == each, tempered[:, each]) for each in LABELS],
        "auroc_of_number": [roc_auc_score(y_true == each, numbers) for each in LABELS],
    }.items():
        assert [value(found, name, each) for each in CLASSES] == pytest.approx(list(expected_values)), name
    assert [each.patients for each in found.classes] == [15] * 4
    assert found.classes[0].predicted_as == np.bincount(y_pred[y_true == 0], minlength=4).tolist()


def test_one_scan_is_worth_the_mean_share_of_a_patients_right_scans():
    test = cohort()
    scans = patients.ensembles(test).scans
    shares = [np.mean(own.y_pred == own.y_true) for own in
              (scans.take(scans.patient == name) for name in np.unique(scans.patient))]  # fmt: skip
    assert value(patients.score(test, test, PARAMS), "accuracy_of_one_scan") == pytest.approx(np.mean(shares))


def test_temperature_and_thresholds_are_those_of_the_ensembles_of_validation():
    test, validation = cohort(), cohort(seed=1)
    found, fitted = patients.score(test, validation, PARAMS), plainly(validation)
    y_true = np.array([each[0] for each in fitted.values()])
    logs = np.log([each[1] for each in fitted.values()])

    def loss(divisor: float) -> float:
        shares = logs / divisor - np.log(np.exp(logs / divisor).sum(axis=1, keepdims=True))
        return -shares[np.arange(len(y_true)), y_true].mean()

    best = minimize_scalar(loss, bounds=(0.05, 20), method="bounded").x
    assert found.temperature == pytest.approx(best, abs=1e-3) and found.temperature < 1
    assert found.validation_patients == 60
    shares = np.exp(logs / found.temperature)
    tumours = np.sort(1 - (shares / shares.sum(axis=1, keepdims=True))[y_true != 2, 2])[::-1]
    assert found.tumour.operating_points[0].threshold == pytest.approx(tumours[int(np.ceil(0.9 * len(tumours))) - 1])


def test_healthy_scans_without_patients_are_no_cases_and_the_reason_is_given():
    found = patients.score(cohort(healthy=False), cohort(seed=1, healthy=False), PARAMS)
    assert (found.patients, found.reason) == (45, "no patient of notumor is known")
    assert found.scans_without_patient > 0 and found.tumour is None
    for score in ("balanced_accuracy", "macro_f1", "false_alarms"):
        assert (found.find(score).value, found.find(score).reason) == (None, found.reason)
    for score in ("recall", "f1", "auroc", "average_precision", "auroc_of_number"):
        assert (found.find(score, "notumor").value, found.find(score, "notumor").reason) == (None, found.reason)
        assert value(found, score, "glioma") is not None
    assert value(found, "accuracy") is not None and value(found, "missed_tumours") is not None


def test_where_no_patient_is_known_nothing_is_scored():
    unknown = replace(cohort(), patient=np.full(len(cohort()), ""))
    found = patients.score(unknown, unknown, PARAMS)
    assert (found.patients, found.scores, found.groups, found.temperature) == (0, [], [], None)
    assert found.find("accuracy").value is None


def test_a_patient_under_two_classes_is_left_out_and_counted():
    test = cohort()
    y_true = test.y_true.copy()
    y_true[np.flatnonzero(test.patient == "p1")[0]] = 0
    assert (test.patient == "p1").sum() > 1
    found = patients.score(replace(test, y_true=y_true), test, PARAMS)
    assert (found.patients, found.patients_left_out) == (59, 1)


def test_accuracy_is_given_by_number_of_scans_and_by_the_closest_that_was_seen():
    test = cohort()
    exposure = test.exposure.copy()
    exposure[np.flatnonzero(test.patient == "p1")[-1]] = "copy"
    found = patients.score(replace(test, exposure=exposure), test, PARAMS)
    expected = plainly(test)
    numbers = np.array([each[2] for each in expected.values()])
    right = np.array([each[1].argmax() == each[0] for each in expected.values()])
    rows = {(row.by, row.value): (row.patients, row.accuracy) for row in found.groups}
    for name, among in {"1": numbers == 1, "2 to 4": (numbers > 1) & (numbers < 5), "5 or more": numbers > 4}.items():
        assert rows["scans", name] == (among.sum(), pytest.approx(right[among].mean()))
    assert rows["exposure", "copy"][0] == 1 and rows["exposure", "patient"][0] == 20
    assert rows["exposure", "neither"][0] == 39


def test_a_number_of_scans_that_tells_a_class_is_named():
    test = cohort()
    gliomas = np.flatnonzero(test.y_true == 0)
    more = test.take(np.sort(np.r_[np.arange(len(test)), np.repeat(gliomas, 7)]))
    more = replace(more, group=np.arange(len(more)))
    assert "glioma" in [each.class_name for each in patients.score(more, test, PARAMS).telling]
    one_each = replace(test, group=np.zeros(len(test), int))
    assert patients.score(one_each, test, PARAMS).telling == []
