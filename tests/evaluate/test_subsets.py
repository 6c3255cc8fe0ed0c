"""Accuracy of some of the test scans, against hand-made cases."""

from dataclasses import replace

import numpy as np
import pytest

from tests.made import one_hot, table
from trueslice.errors import ParamsError, UserError
from trueslice.evaluate import subsets
from trueslice.evaluate.intervals import GroupBootstrap
from trueslice.tables.predictions import Predictions
from trueslice.tables.scans import Scans


def of(right: np.ndarray, y_true=None, **columns) -> Predictions:
    y_true = np.zeros(len(right), int) if y_true is None else y_true
    return table(y_true, one_hot(np.where(right, y_true, 1 - y_true), 2), class_names=("a", "b"), **columns)


def test_exposed_scans_stand_beside_the_others_class_by_class_where_there_are_enough():
    # Of the first class 40 with a copy, all right, and 40 without, half right; of the second 29 with a copy.
    y_true, exposure = np.repeat([0, 0, 1], [40, 40, 29]), np.repeat(["copy", "neither", "copy"], [40, 40, 29])
    right = np.r_[np.ones(40, bool), np.arange(40) < 20, np.ones(29, bool)]
    predictions = of(right, y_true, exposure=exposure)
    rows = subsets.by_exposure(predictions, GroupBootstrap(predictions.unit))
    shown = [(row.exposure, row.class_name, row.scans, row.accuracy) for row in rows]
    assert shown == [
        ("copy", None, 69, 1), ("copy", "a", 40, 1), ("copy", "b", 29, None),
        ("neither", None, 40, 0.5), ("neither", "a", 40, 0.5),
    ]  # fmt: skip
    assert rows[2].reason == "fewer than 30 distinct scans" and rows[2].low is None
    assert rows[1].low == pytest.approx(0.025 ** (1 / 40))
    assert rows[4].low < 0.5 < rows[4].high


def test_columns_are_those_of_the_predicted_scans_in_their_order():
    count, empty = 3, np.full(3, "")
    columns = dict.fromkeys(("official_split", "source", "source_class", "plane", "patient", "pixel_hash"), empty)
    columns |= dict.fromkeys(("width", "height", "group"), np.arange(count))
    columns |= {"class_name": np.array(["a", "a", "b"]), "mode": np.array(["L", "RGB", ""]), "best_match": np.zeros(3)}
    scans = Scans(path=np.array(["0002.jpg", "0000.jpg", "0001.jpg"]), **columns)
    predictions = of(np.ones(2, bool))
    found = subsets.columns(scans, predictions, ["mode", "class", "width"])
    assert {name: values.tolist() for name, values in found.items()} == {
        "mode": ["RGB", "unknown"], "class": ["a", "b"], "width": ["1", "2"],
    }  # fmt: skip
    assert subsets.columns(scans, predictions, []) == {}
    with pytest.raises(ParamsError, match=r"evaluate.by: .* has no column 'sex'; it has path, class, official_split"):
        subsets.columns(scans, predictions, ["mode", "sex"])
    with pytest.raises(UserError, match=r"scans.csv has no new.jpg, which was predicted"):
        subsets.columns(scans, replace(predictions, path=np.array(["0001.jpg", "new.jpg"])), ["mode"])


def test_each_value_of_a_column_has_rows_with_an_interval_or_a_reason():
    y_true, modes = np.arange(60) % 2, np.repeat(["L", "RGB", "unknown"], [40, 18, 2])
    right = np.arange(60) % 4 < 3
    predictions = of(right, y_true, unit=np.r_[np.arange(58) // 2, 58, 58], group=np.arange(60))
    rows = subsets.by_columns(predictions, {"mode": modes}, GroupBootstrap(predictions.unit))
    assert [(row.value, row.class_name, row.scans) for row in rows] == [
        ("L", None, 40), ("L", "a", 20), ("L", "b", 20), ("RGB", None, 18), ("RGB", "a", 9), ("RGB", "b", 9),
        ("unknown", None, 2), ("unknown", "a", 1), ("unknown", "b", 1),
    ]  # fmt: skip
    assert {row.column for row in rows} == {"mode"}
    assert (rows[0].accuracy, rows[0].units, rows[0].distinct) == (0.75, 20, 40)
    assert all(row.low <= row.accuracy <= row.high or row.reason for row in rows if row.low is not None)
    one_unit = {"mode": np.where(np.isin(np.arange(60), [2, 3]), "P", "L")}
    half_right = subsets.by_columns(predictions, one_unit, GroupBootstrap(predictions.unit))[-3]
    assert half_right.value == "P" and half_right.low is None and "one distinct scan" in half_right.reason


def test_blocks_of_names_widen_the_interval_where_neighbours_err_together():
    # Ten neighbours by number, not by text, are right or wrong together; the names stand in any order.
    order = np.random.default_rng(1).permutation(300)
    right = np.random.default_rng(0).random(30)[order // 10] < 0.7
    paths = np.array([f"Testing/a/Te_{number}.jpg" for number in order])
    predictions = of(right, path=paths)
    by_units = GroupBootstrap(predictions.unit).share(right, np.ones(300, bool)).interval
    found = subsets.name_blocks(predictions, by_units)
    assert found.times_as_wide == pytest.approx((found.high - found.low) / (by_units.high - by_units.low))
    assert found.length == 10 and found.times_as_wide > 2.5
    by_block = GroupBootstrap(order // 10).share(right, np.ones(300, bool)).interval
    assert (found.low, found.high) == pytest.approx(by_block[:2])


def test_blocks_of_names_are_of_no_use_where_all_patients_are_known_and_keep_those_that_are():
    right, patient = np.arange(40) % 3 > 0, np.repeat(["x", "y"], 20)
    known = of(right, patient=patient, unit=np.arange(40) // 20)
    by_units = GroupBootstrap(known.unit).share(right, np.ones(40, bool)).interval
    assert subsets.name_blocks(known, by_units) is None
    mixed = of(right, patient=np.where(patient == "x", "x", ""), unit=np.r_[np.zeros(20, int), np.arange(20, 40)])
    found = subsets.name_blocks(mixed, by_units)
    clusters = np.r_[np.zeros(20), np.ones(10), np.full(10, 2)]
    assert found.low == GroupBootstrap(clusters).share(right, np.ones(40, bool)).interval.low
