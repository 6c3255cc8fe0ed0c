"""Accuracy of some of the test scans: by exposure, by any column of scans.csv, and over runs of neighbouring names."""

from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from trueslice.errors import ParamsError, UserError
from trueslice.evaluate.intervals import MIN_DISTINCT, Estimate, GroupBootstrap
from trueslice.tables.base import natural
from trueslice.tables.predictions import Predictions
from trueslice.tables.scans import Scans

EXPOSURES = ("copy", "patient", "neither", "unknown")
RUN = 10  # neighbouring names


def columns(scans: Scans, predictions: Predictions, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of scans.csv for the predicted scans, as text [N], `unknown` where a cell is empty.

    Raises:
        ParamsError: there is no column of such a name.
        UserError: a predicted scan is not among the scans.
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


def by_exposure(predictions: Predictions, bootstrap: GroupBootstrap) -> list[dict]:
    """Rows for each exposure, of all classes and of those with 30 distinct scans or more."""
    rows = []
    for exposure in EXPOSURES:
        rows += _rows({"exposure": exposure}, predictions, predictions.exposure == exposure, bootstrap, MIN_DISTINCT)
    return rows


def by_columns(predictions: Predictions, labels: dict[str, np.ndarray], bootstrap: GroupBootstrap) -> list[dict]:
    """Rows for each value of each column, of all classes and of each."""
    rows = []
    for name, values in labels.items():
        for value in np.unique(values).tolist():
            rows += _rows({"column": name, "value": value}, predictions, values == value, bootstrap)
    return rows


def _rows(
    key: dict[str, str], predictions: Predictions, among: np.ndarray, bootstrap: GroupBootstrap, least: int = 1
) -> list[dict]:
    """One row for all scans `among`, bool [N], and for each class that has any; none where there are none."""
    rows = []
    for index, name in enumerate((None, *predictions.class_names)):
        own = among & (predictions.y_true == index - 1) if index else among
        if own.any():
            numbers = counts(predictions, own)
            if index and numbers["distinct"] < least:
                share = {"accuracy": None, "low": None, "high": None, "method": None, "covers": None}
                share["reason"] = f"fewer than {least} distinct scans"
            else:
                share = accuracy(predictions, own, bootstrap)
            rows.append(key | {"class": name} | numbers | share)
    return rows


def counts(predictions: Predictions, among: np.ndarray) -> dict[str, int]:
    """Scans, distinct scans and units of independence among some."""
    return {
        "scans": int(among.sum()),
        "distinct": len(np.unique(predictions.group[among])),
        "units": len(np.unique(predictions.unit[among])),
    }


def accuracy(predictions: Predictions, among: np.ndarray, bootstrap: GroupBootstrap) -> dict:
    """Accuracy among some scans, None without any, with its interval or the reason why there is none."""
    value, interval = bootstrap.share(predictions.y_pred == predictions.y_true, among)
    return {"accuracy": None if np.isnan(value) else value, **interval._asdict()}


def name_runs(predictions: Predictions, by_units: Estimate) -> dict | None:
    """The accuracy's interval over runs of ten neighbouring names where no patient is known; None if all are known.

    Neighbours by name are often slices of one patient, so this says how much too narrow the interval `by_units` may be.
    """
    unknown = predictions.patient == ""
    if not unknown.any():
        return None
    runs = predictions.unit.copy()
    folders = np.array([path.rpartition("/")[0] for path in predictions.path.tolist()])
    following = len(predictions.unit) + predictions.unit.max()
    for folder in np.unique(folders[unknown]):
        for index in range(len(predictions.class_names)):
            own = np.flatnonzero(unknown & (folders == folder) & (predictions.y_true == index))
            ordered = sorted(own.tolist(), key=lambda row: natural(predictions.path[row]))
            runs[ordered] = following + np.arange(len(own)) // RUN
            following += len(own)
    found = accuracy(predictions, np.ones(len(unknown), bool), GroupBootstrap(runs))
    ends = found["low"], found["high"], *by_units.interval[:2]
    times = None if None in ends else (ends[1] - ends[0]) / (ends[3] - ends[2])
    return {"length": RUN, "low": found["low"], "high": found["high"], "times_as_wide": times}
