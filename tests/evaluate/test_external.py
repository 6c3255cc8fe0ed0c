"""Scores on other data sets, against tables made by hand."""

import numpy as np
import pytest

from tests.made import CLASSES
from tests.made import external_table as table
from trueslice.evaluate import external
from trueslice.evaluate.intervals import GroupBootstrap
from trueslice.records.external import ExternalFiles, SetFiles, SetScores
from trueslice.records.tumour import AtThreshold
from trueslice.tables.external import ExternalPredictions


def files(*names: str) -> ExternalFiles:
    return ExternalFiles(sets=[SetFiles(set=name, files=99, unreadable=1, without_class=[]) for name in names])


def score(predictions: ExternalPredictions, points=()) -> SetScores:
    return external.score(predictions, files(*dict.fromkeys(predictions.name.tolist())), "notumor", points).sets[0]


def point(target: float, threshold: float) -> AtThreshold:
    return AtThreshold.model_construct(target=target, threshold=threshold)


# Two gliomas, one recognised; three healthy heads, one called pituitary; copies that are all right, but for one.
ROWS = [(0, 0, ""), (0, 2, ""), (2, 2, ""), (2, 2, ""), (2, 3, ""), (3, 3, "development"), (0, 0, "development")]
ROWS += [(2, 0, "within")]


def test_only_kept_scans_count_and_copies_stand_beside_them():
    found = score(table(ROWS, group=[0, 1, 2, 3, 4, 5, 0, 2]))
    assert (found.set, found.files, found.unreadable) == ("other", 99, 1)
    assert (found.dropped_as_development, found.dropped_within, found.kept) == (2, 1, 5)
    assert found.accuracy == 3 / 5 and found.accuracy_of_dropped == 1
    assert [(row.class_name, row.kept, row.recall) for row in found.classes] == [
        ("glioma", 2, 1 / 2), ("meningioma", 0, None), ("notumor", 3, 2 / 3), ("pituitary", 0, None)
    ]  # fmt: skip
    assert found.classes[1].reason == "there is no scan to count"
    expected = GroupBootstrap(np.arange(5)).share(np.array([1, 0, 1, 1, 0], bool), np.ones(5, bool)).interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.nll == pytest.approx(-(3 * np.log(0.7) + 2 * np.log(0.1)) / 5)
    assert found.ece == pytest.approx(abs(0.7 - 3 / 5))


def test_a_class_without_kept_scans_is_missing_and_how_often_it_is_answered_is_told():
    assert score(table(ROWS)).missing_classes_answered == 1 / 5  # one is called pituitary, none meningioma
    everything = [(index, 3, "") for index in range(4)]
    assert score(table(everything)).missing_classes_answered is None


def test_thresholds_of_development_are_applied_as_they_are():
    strict, lenient = score(table(ROWS), [point(0.95, 0.5), point(0.98, 0.2)]).tumour
    # The probability of a tumour is 0.9 where one is predicted, and 0.3 where none is.
    assert (strict.target, strict.threshold, strict.sensitivity, strict.specificity) == (
        0.95,
        0.5,
        0.5,
        2 / 3,
    )
    assert (lenient.sensitivity, lenient.specificity) == (1, 0)
    assert strict.sensitivity_low < 0.5 < strict.sensitivity_high
    assert score(table(ROWS)).tumour is None


def test_a_set_of_nothing_but_copies_has_no_accuracy_and_says_why():
    found = score(table([(0, 0, "development"), (1, 0, "development")]))
    assert (found.kept, found.accuracy, found.low, found.nll, found.ece) == (0, None, None, None, None)
    assert found.reason == "there is no scan to count" and found.accuracy_of_dropped == 0.5
    assert found.missing_classes_answered is None


def test_sets_are_scored_by_themselves_and_no_set_is_no_row():
    both = ExternalPredictions.concatenate([table(ROWS), table([(1, 1, "")], name="second")])
    rows = external.score(both, files("second", "other"), None, []).sets
    assert [(row.set, row.kept) for row in rows] == [("second", 1), ("other", 5)]
    empty = ExternalPredictions.empty(CLASSES)
    assert external.score(ExternalPredictions.parse(empty.text()), files(), "notumor", []).sets == []
