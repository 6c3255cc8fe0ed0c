"""Scores of explanations: how often, and by how much, they point at tumours (see trueslice/explain/pointing.py)."""

from collections.abc import Iterator

import numpy as np

from trueslice.evaluate.intervals import SIGNED, UNIT, Estimate, GroupBootstrap
from trueslice.tables.explanations import Explanations

# A map and what it is compared with, and the columns of each for both scores.
COLUMNS = {
    "explanation": ("pointing", "energy"),
    "uniform": ("uniform", "uniform"),
    "other_patient": ("other_pointing", "other_energy"),
    "fixed_point": ("fixed_point", "fixed_point"),
    "random_weights": ("random_pointing", "random_energy"),
    "ceiling": ("ceiling_pointing", "ceiling_energy"),
}
SIZES = ("small", "medium", "large")


def score(table: Explanations) -> dict:
    """The content of metrics/explain.json."""
    if not len(table):
        return {"scans": 0, "shown": False, "reason": "no mask of a test scan is known", "rows": [], "differences": []}
    differences = list(_differences(table))
    ahead = next(row for row in differences if (row["score"], row["against"]) == ("pointing", "fixed_point"))
    shown = ahead["low"] is not None and ahead["low"] > 0
    told = "points" if shown else "does not point"
    reason = (
        f"it {told} at tumours more often than the best fixed point of each class does, as far as the interval says"
    )
    rows = [row for by, name, own in _parts(table) for row in _rows(table.take(own), by, name)]
    return {"scans": len(table), "shown": shown, "reason": reason, "rows": rows, "differences": differences}


def _parts(table: Explanations) -> Iterator[tuple[str, str | None, np.ndarray]]:
    """All scans; those of a class; thirds by size; and those that were answered right or wrong."""
    yield "all", None, np.ones(len(table), bool)
    for name in np.unique(table.class_name).tolist():
        yield "class", name, table.class_name == name
    third = np.searchsorted(np.quantile(table.area, [1 / 3, 2 / 3]), table.area)
    for place, name in enumerate(SIZES):
        yield "size", name, third == place
    right = table.predicted == table.class_name
    yield "answer", "right", right
    yield "answer", "wrong", ~right


def _rows(table: Explanations, by: str, name: str | None) -> Iterator[dict]:
    if not len(table):
        return
    bootstrap = GroupBootstrap(table.unit)
    for column, score in enumerate(("pointing", "energy")):
        for of, columns in COLUMNS.items():
            value, interval = _mean(getattr(table, columns[column]), bootstrap)
            counts = {"scans": len(table), "units": len(np.unique(table.unit))}
            limits = {"low": interval.low, "high": interval.high}
            yield {"by": by, "value_of": name, "score": score, "of": of, "value": value} | limits | counts


def _mean(values: np.ndarray, bootstrap: GroupBootstrap) -> Estimate:
    is_share = np.isin(values, (0, 1)).all()
    return bootstrap.share(values == 1, values >= 0) if is_share else bootstrap.mean(values, UNIT)


def _differences(table: Explanations) -> Iterator[dict]:
    bootstrap = GroupBootstrap(table.unit)
    for column, score in enumerate(("pointing", "energy")):
        for against, columns in list(COLUMNS.items())[1:]:
            own = getattr(table, score)
            value, interval = bootstrap.mean(own - getattr(table, columns[column]), SIGNED)
            yield {"score": score, "against": against, "value": value, "low": interval.low, "high": interval.high}
