"""Scores of explanations: how often, and by how much, they point at tumours (see trueslice/explain/pointing.py)."""

from collections.abc import Iterator

import numpy as np

from trueslice.evaluate.intervals import LIMITS, Estimate, GroupBootstrap
from trueslice.records.explain import ExplanationScores, PointingDifference, PointingScore
from trueslice.tables.explanations import Explanations

# The maps: the explanation, and the ones it is compared with. The columns of each are for both scores.
COLUMNS = {
    "explanation": ("pointing", "energy"),
    "uniform": ("uniform", "uniform"),
    "other_patient": ("other_pointing", "other_energy"),
    "fixed_point": ("fixed_point", "fixed_point"),
    "random_weights": ("random_pointing", "random_energy"),
    "ceiling": ("ceiling_pointing", "ceiling_energy"),
}
SIZES = ("small", "medium", "large")


def score(table: Explanations) -> ExplanationScores:
    """Score the explanations of the test scans with a mask, and decide whether they are good enough to be shown."""
    if not len(table):
        reason = "no mask of a test scan is known"
        return ExplanationScores(scans=0, shown=False, reason=reason, rows=[], differences=[])
    differences = list(_differences(table))
    ahead = next(each for each in differences if (each.score, each.against) == ("pointing", "fixed_point"))
    shown = ahead.low is not None and ahead.low > 0
    better = "at tumours more often than the best fixed point of each class does, as far as the interval says"
    reason = f"it {'points' if shown else 'does not point'} {better}"
    rows = [row for by, name, own in _parts(table) for row in _rows(table.take(own), by, name)]
    return ExplanationScores(scans=len(table), shown=shown, reason=reason, rows=rows, differences=differences)


def _parts(table: Explanations) -> Iterator[tuple[str, str | None, np.ndarray]]:
    """Yield all scans, the scans of each class, thirds by size, and the scans that were answered right and wrong."""
    yield "all", None, np.ones(len(table), bool)
    for name in np.unique(table.class_name).tolist():
        yield "class", name, table.class_name == name
    third = np.searchsorted(np.quantile(table.area, [1 / 3, 2 / 3]), table.area)
    for place, name in enumerate(SIZES):
        yield "size", name, third == place
    right = table.predicted == table.class_name
    yield "answer", "right", right
    yield "answer", "wrong", ~right


def _rows(table: Explanations, by: str, name: str | None) -> Iterator[PointingScore]:
    if not len(table):
        return
    bootstrap = GroupBootstrap(table.unit)
    counts = {"scans": len(table), "units": len(np.unique(table.unit))}
    for column, metric in enumerate(("pointing", "energy")):
        for of, columns in COLUMNS.items():
            mean = _mean(getattr(table, columns[column]), bootstrap).fields("value", LIMITS)
            yield PointingScore(by=by, value_of=name, score=metric, of=of, **mean, **counts)


def _mean(values: np.ndarray, bootstrap: GroupBootstrap) -> Estimate:
    is_share = np.isin(values, (0, 1)).all()
    return bootstrap.share(values == 1, values >= 0) if is_share else bootstrap.mean(values)


def _differences(table: Explanations) -> Iterator[PointingDifference]:
    bootstrap = GroupBootstrap(table.unit)
    for column, metric in enumerate(("pointing", "energy")):
        for against, columns in list(COLUMNS.items())[1:]:
            difference = bootstrap.difference(getattr(table, metric) - getattr(table, columns[column]), -1, 1)
            yield PointingDifference(score=metric, against=against, **difference.fields("value", LIMITS))
