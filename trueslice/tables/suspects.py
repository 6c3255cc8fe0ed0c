"""Suspect labels: the file that `trueslice suspects` writes."""

from dataclasses import dataclass

import numpy as np

from trueslice.tables.base import SHARE, TEXT, WHOLE, Kind, Table, column, one_of

OPTIONAL_SHARE = Kind(
    np.float64,
    lambda text: SHARE.read(text) if text else np.nan,
    lambda value: "" if np.isnan(value) else SHARE.write(value),
    f"{SHARE.expected}, or empty",
)


@dataclass(frozen=True)
class Suspects(Table):
    """Scans by how much speaks against their labels, the most suspect first; copies under one class share a rank."""

    rank: np.ndarray = column(WHOLE)  # from 1
    path: np.ndarray = column(TEXT)  # as in `Scans`
    class_name: np.ndarray = column(TEXT, "class")  # the label
    suggested: np.ndarray = column(TEXT)  # the class that it may be in place of it
    # `source`: the source gives it another class; `copies`: copies of it are under another class; `model`: the
    # predictions alone.
    evidence: np.ndarray = column(one_of("source", "copies", "model"))
    # Probability of the label by models that were not trained on the scan; the mean over copies; NaN without one.
    confidence: np.ndarray = column(OPTIONAL_SHARE)
    group: np.ndarray = column(WHOLE)  # as in `Scans`
