"""Accuracy of some of the test scans: by exposure, by a column of scans.csv, and over blocks of file names."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from trueslice.errors import ParamsError, UserError
from trueslice.evaluate.intervals import Estimate, GroupBootstrap, Interval
from trueslice.reading.names import natural_key
from trueslice.records.intervals import Score
from trueslice.records.test import MIN_DISTINCT, ColumnScore, ExposureScore, NameBlocks
from trueslice.tables.predictions import Predictions
from trueslice.tables.scans import Scans

EXPOSURES = ("copy", "patient", "neither", "unknown")
BLOCK = 10  # neighbouring file names


def columns(scans: Scans, predictions: Predictions, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return columns of scans.csv for the predicted scans, as text [N], `unknown` for an empty cell.

    ParamsError without a column of this name; UserError if a predicted scan is not among the scans.
    """
    known = {each.metadata["name"] or each.name: getattr(scans, each.name) for each in fields(scans)}
    for name in names:
        if name not in known:
            raise ParamsError(f"evaluate.by: data/scans/scans.csv has no column {name!r}; it has {', '.join(known)}")
    place = {path: row for row, path in enumerate(scans.path.tolist())}
    missing = [path for path in predictions.path.tolist() if path not in place]
    if missing:
        raise UserError(f"data/scans/scans.csv has no {missing[0]}, which was predicted; run `dvc repro`")
    rows = np.array([place[path] for path in predictions.path.tolist()])
    cells = {name: known[name][rows].astype(str) for name in names}
    return {name: np.where(values == "", "unknown", values) for name, values in cells.items()}


def by_exposure(predictions: Predictions, bootstrap: GroupBootstrap) -> list[ExposureScore]:
    """Score each exposure, for all classes together and for each class with 30 distinct scans or more."""
    return [
        ExposureScore(exposure=exposure, **row)
        for exposure in EXPOSURES
        for row in _rows(predictions, predictions.exposure == exposure, bootstrap, MIN_DISTINCT)
    ]


def by_columns(predictions: Predictions, labels: dict[str, np.ndarray], bootstrap: GroupBootstrap) -> list[ColumnScore]:
    """Score each value of each column, for all classes together and for each."""
    return [
        ColumnScore(column=name, value=value, **row)
        for name, values in labels.items()
        for value in np.unique(values).tolist()
        for row in _rows(predictions, values == value, bootstrap)
    ]


def _rows(
    predictions: Predictions, among: np.ndarray, bootstrap: GroupBootstrap, least: int = 1
) -> Iterator[dict[str, Any]]:
    """Yield the accuracy of all scans `among`, bool [N], and of each class that has any of them."""
    correct = predictions.y_pred == predictions.y_true
    for index, name in enumerate((None, *predictions.class_names)):
        own = among & (predictions.y_true == index - 1) if name else among
        if own.any():
            numbers = counts(predictions, own)
            accuracy = bootstrap.share(correct, own)
            if name and numbers["distinct"] < least:
                accuracy = Estimate(np.nan, Interval(reason=f"fewer than {least} distinct scans"))
            yield {"class_name": name, **numbers, **accuracy.fields("accuracy")}


def counts(predictions: Predictions, among: np.ndarray) -> dict[str, int]:
    """Count scans, distinct scans and units among some, bool [N]."""
    return {
        "scans": int(among.sum()),
        "distinct": len(np.unique(predictions.group[among])),
        "units": len(np.unique(predictions.unit[among])),
    }


def blocks(predictions: Predictions) -> np.ndarray:
    """Return units, int [N]: of a known patient as they are, else ten or so neighbouring file names with their copies.

    A group of copies goes where its first file goes.
    """
    units = predictions.unit.copy()
    rows = np.flatnonzero(~np.isin(units, units[predictions.patient != ""]))
    places = [(path.rpartition("/")[0], natural_key(path)) for path in predictions.path.tolist()]
    rows = np.array(sorted(rows.tolist(), key=places.__getitem__), int)
    _, first, members, sizes = np.unique(units[rows], return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)
    before = np.empty_like(order)
    before[order] = np.cumsum(sizes[order]) - sizes[order]
    units[rows] = units.max(initial=0) + 1 + before[members] // BLOCK
    return units


def name_blocks(predictions: Predictions, by_units: Score | Interval) -> NameBlocks | None:
    """Compute the accuracy's interval over blocks of ten neighbouring file names where no patient is known.

    Neighbours by name are often slices of one patient, so this says how much too narrow the accuracy's interval
    `by_units` may be. None if all patients are known.
    """
    if (predictions.patient != "").all():
        return None
    correct = predictions.y_pred == predictions.y_true
    low, high, *_ = GroupBootstrap(blocks(predictions)).share(correct, np.ones_like(correct)).interval
    times = None
    if low is not None and high is not None and by_units.low is not None and by_units.high is not None:
        times = (high - low) / (by_units.high - by_units.low)
    return NameBlocks(length=BLOCK, low=low, high=high, times_as_wide=times)
