"""The threshold below which answers are withheld, against cases that are reckoned by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tests.made import CLASSES, external_table, table
from trueslice.evaluate import withheld
from trueslice.evaluate.withheld import choose, error_limit, fewest, lowest_threshold, said, score
from trueslice.tables.external import ExternalPredictions
from trueslice.tables.predictions import Predictions


def scans(wrong: int, count: int, per_patient: int = 1, **columns) -> Predictions:
    """Scans of which the `wrong` least sure are wrong; confidence falls from 0.99 to 0.5."""
    y_true, top = np.arange(count) % 2, np.linspace(0.99, 0.5, count)
    y_pred = np.where(np.arange(count) >= count - wrong, 1 - y_true, y_true)
    shares = np.where(np.eye(2, dtype=bool)[y_pred], top[:, None], 1 - top[:, None])
    unit = np.arange(count) // per_patient
    columns = {
        "patient": np.char.add("p", unit.astype(str)),
        "unit": unit,
        "exposure": np.full(count, "neither"),
    } | columns
    return table(y_true, shares, **columns)


NONE = ExternalPredictions.empty(("glioma", "meningioma"))


@pytest.mark.parametrize(("max_error", "least"), [(0.02, 194), (0.05, 77), (0.1, 38)])
def test_the_fewest_independent_scans_keep_a_promise_with_one_error_and_one_less_does_not(max_error, least):
    assert fewest(max_error) == least
    limits = [error_limit(np.arange(count) < 1, np.arange(count)) for count in (least, least - 1)]
    assert limits[0] <= max_error < limits[1]


def test_scans_of_one_patient_count_as_one():
    wrong = np.repeat([True, False, False, False], 5)
    assert error_limit(wrong, np.arange(20) // 5) == pytest.approx(stats.beta.ppf(0.9, 2, 3))
    assert error_limit(wrong, np.arange(20)) == pytest.approx(stats.beta.ppf(0.9, 6, 15))
    assert error_limit(np.ones(3, bool), np.arange(3)) == 1


def test_the_threshold_is_the_last_that_holds_before_one_fails():
    # Of 200 scans the 20 least sure are wrong: up to 90 % can be answered without an error, 95 % with 10 of 190.
    confidence, wrong = np.linspace(1, 0.5, 200), np.arange(200) >= 180
    threshold, limit = lowest_threshold(confidence, wrong, np.arange(200), 0.1)
    assert (confidence >= threshold).sum() == 190 and limit == pytest.approx(stats.beta.ppf(0.9, 21, 180))
    # Errors among the surest end the search, whatever would come after them.
    early = np.isin(np.arange(200), np.arange(100, 110))
    assert (confidence >= lowest_threshold(confidence, early, np.arange(200), 0.05)[0]).sum() == 100
    assert lowest_threshold(confidence, np.arange(200) < 10, np.arange(200), 0.05)[0] is None


def test_thresholds_are_rounded_down_and_scans_of_equal_confidence_are_answered_together():
    confidence = np.r_[np.full(150, 0.99997), np.full(50, 0.6)]
    threshold, _ = lowest_threshold(confidence, np.arange(200) >= 150, np.arange(200), 0.05)
    assert threshold == 0.9999


@pytest.mark.parametrize("protocol", ["official", "grouped", "blocked"])
def test_where_patients_may_be_in_training_there_is_no_promise(protocol):
    assert choose(scans(0, 400), "patients", 0.1).threshold == 0.5
    said = choose(scans(0, 400), protocol, 0.1)
    assert said.startswith(f"under split.protocol: {protocol}, patients of validation scans may be in training; ")


def test_too_few_patients_are_told_with_how_many_are_needed():
    assert choose(scans(0, 440, 10), "patients", 0.1).independent == 44
    assert choose(scans(0, 370, 10), "patients", 0.1) == (
        "the 370 validation scans count as 37 independent ones, and at most 10 % errors with a confidence of 90 % "
        "need 38; bring more patients, or raise split.validation_share"
    )


def test_too_many_errors_among_the_surest_are_told_with_their_limit():
    surest = scans(0, 200)
    wrong = replace(surest, y_true=np.where(np.arange(200) < 20, 1 - surest.y_true, surest.y_true))
    limit = stats.beta.ppf(0.9, 21, 80)
    assert choose(wrong, "patients", 0.05) == (
        f"of the surest half of the validation scans, up to {100 * limit:.1f} % may be wrong: "
        "too many for at most 5 % errors with a confidence of 90 %"
    )


def test_without_patients_neighbouring_names_and_copies_count_as_one():
    unknown = {"patient": np.full(500, ""), "exposure": np.full(500, "unknown")}
    assert choose(scans(0, 500, **unknown), "patients", 0.1).independent == 50
    copies = np.where(np.arange(500) < 100, 0, np.arange(500))
    assert "count as 17 independent ones" in choose(scans(0, 500, **unknown | {"unit": copies}), "patients", 0.1)


def test_answers_and_errors_are_counted_in_the_test_set_by_class_and_in_other_sets():
    exposure = np.where(np.arange(100) < 60, "neither", "unknown")
    test = replace(scans(30, 100), exposure=exposure)
    found = score(scans(40, 200), test, NONE, "patients", 0.1)
    assert found.reason is None and (found.promise.max_error, found.promise.scans) == (0.1, 200)
    least = found.promise.threshold
    confidence, wrong = test.probabilities.max(axis=1), test.y_true != test.y_pred
    rows = {(row.by, row.value_of): row for row in found.rows}
    masks = {
        ("all", None): np.ones(100, bool),
        ("class", "glioma"): test.y_true == 0,
        ("exposure", "neither"): exposure == "neither",
    }
    for key, among in masks.items():
        answered = among & (confidence >= least)
        assert (rows[key].scans, rows[key].answered) == (among.sum(), answered.sum() / among.sum())
        assert rows[key].wrong == pytest.approx(wrong[answered].mean())
        assert rows[key].wrong_low <= rows[key].wrong <= rows[key].wrong_high
    assert list(rows) == [
        ("all", None),
        ("exposure", "neither"),
        ("exposure", "unknown"),
        ("class", "glioma"),
        ("class", "meningioma"),
    ]
    whole = rows["all", None]
    shares = f"{100 * whole.answered:.1f} % of the test scans are answered, {100 * whole.wrong:.1f} % of these"
    assert said(found) == f"{shares} answers are wrong"


def test_only_new_scans_of_other_sets_count():
    other = external_table([(0, 0, ""), (0, 1, ""), (1, 1, "development"), (1, 0, "within")])
    probabilities = np.full((4, 4), 0.01) + 0.96 * np.eye(4)[other.y_pred]
    validation = replace(
        scans(0, 400), class_names=CLASSES, probabilities=np.pad(scans(0, 400).probabilities, ((0, 0), (0, 2)))
    )
    found = score(validation, validation, replace(other, probabilities=probabilities), "patients", 0.05)
    (row,) = [row for row in found.rows if row.by == "external"]
    assert (row.value_of, row.scans, row.answered, row.wrong) == ("other", 2, 1, 0.5)


def test_a_class_that_is_never_answered_has_no_share_of_errors():
    test = scans(0, 100)
    unsure = replace(test, probabilities=np.where(np.arange(100)[:, None] % 2, [0.45, 0.55], test.probabilities))
    unsure = replace(unsure, y_pred=unsure.probabilities.argmax(axis=1))
    found = score(scans(150, 400), unsure, NONE, "patients", 0.1)
    row = next(row for row in found.rows if row.value_of == "meningioma")
    assert found.promise.threshold > 0.55 and (row.answered, row.wrong, row.wrong_low) == (0, None, None)


def test_null_promises_nothing_and_says_so():
    found = score(scans(0, 400), scans(0, 400), NONE, "patients", None)
    assert (found.promise, found.reason, found.rows) == (None, "evaluate.max_error is null", [])
    assert said(found) == "no promise: evaluate.max_error is null"


def test_a_promise_is_seldom_broken_where_scans_of_a_patient_err_together():
    random, broken = np.random.default_rng(0), 0
    for _ in range(200):
        units = np.repeat(np.arange(60), random.integers(1, 13, 60))
        margin = 1.4 + np.sqrt(0.8) * random.normal(size=60)[units] + np.sqrt(0.2) * random.normal(size=len(units))
        least, _ = lowest_threshold(abs(margin) / 10, margin < 0, units, 0.1)
        if least is not None:
            normal = stats.norm(1.4)
            broken += normal.cdf(-10 * least) / (normal.cdf(-10 * least) + normal.sf(10 * least)) > 0.1
    assert broken <= 8, withheld.__doc__
