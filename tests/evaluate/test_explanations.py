"""Scores of explanations, on a table that is made up."""

import numpy as np

from trueslice.evaluate import explanations
from trueslice.tables.explanations import Explanations

COUNT = 60
ROWS = np.arange(COUNT)


def table(hits: float) -> Explanations:
    """Maps that point at this share of the tumours, where the fixed point hits a third of them."""
    half, third = np.full(COUNT, 0.5), (ROWS % 3 == 0).astype(float)
    columns = {name: half for pair in explanations.COLUMNS.values() for name in pair}
    columns |= {"pointing": (10 * hits > ROWS % 10).astype(float), "fixed_point": third}
    names = np.array(["glioma", "meningioma"])[ROWS % 2]
    paths = np.array([f"{row}.png" for row in ROWS])
    return Explanations(path=paths, class_name=names, predicted=names, unit=ROWS // 2, area=ROWS / COUNT, **columns)


def test_maps_that_point_at_more_tumours_than_a_fixed_point_are_shown():
    scored = explanations.score(table(0.9))
    assert scored.shown and scored.reason.startswith("it points at tumours more often")
    ahead = next(row for row in scored.differences if (row.score, row.against) == ("pointing", "fixed_point"))
    assert ahead.low > 0


def test_maps_that_point_at_no_more_are_not_shown():
    scored = explanations.score(table(0.3))
    assert not scored.shown and scored.reason.startswith("it does not point")


def test_rows_are_by_class_by_thirds_of_size_and_by_answer():
    rows = explanations.score(table(0.9)).rows
    found = {(row.by, row.value_of) for row in rows}
    assert found >= {("all", None), ("class", "glioma"), ("size", "small"), ("answer", "right")}
    assert {row.of for row in rows} == set(explanations.COLUMNS)
    assert {row.scans for row in rows if row.by == "size"} == {COUNT // 3}


def test_without_masks_nothing_is_shown():
    scored = explanations.score(Explanations.empty())
    assert (scored.scans, scored.shown, scored.rows) == (0, False, [])
