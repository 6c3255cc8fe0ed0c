"""Decoded scans and their copies: data/scans/*.csv."""

from dataclasses import dataclass

import numpy as np

from trueslice.tables.base import SIX_DECIMALS, TEXT, WHOLE, Table, column


@dataclass(frozen=True)
class Scans(Table):
    """Decoded scans, in the order of data/scans/pixels.npy: data/scans/scans.csv."""

    path: np.ndarray = column(TEXT)  # relative to data/raw, with forward slashes
    class_name: np.ndarray = column(TEXT, "class")  # the folder it lies in
    official_split: np.ndarray = column(TEXT)  # `train`, `test`, or empty where the source comes without a test set
    width: np.ndarray = column(WHOLE)  # pixels as seen, after EXIF orientation
    height: np.ndarray = column(WHOLE)
    mode: np.ndarray = column(TEXT)  # Pillow's, of the file
    pixel_hash: np.ndarray = column(TEXT)  # start of the SHA-256 over shape and pixels at full size
    group: np.ndarray = column(WHOLE)  # the same for copies of each other, the row number of the first of them
    # As a table of patients says; empty where that is unknown.
    patient: np.ndarray = column(TEXT)
    source: np.ndarray = column(TEXT)  # the collection that the scan was taken from
    source_class: np.ndarray = column(TEXT)  # its class there, by the names of `classes`
    plane: np.ndarray = column(TEXT)  # such as axial
    # Correlation with the scan most like it, as they lie best, without alignment; 1 for an exact copy.
    best_match: np.ndarray = column(SIX_DECIMALS)


@dataclass(frozen=True)
class Pairs(Table):
    """Copies of each other: data/scans/pairs.csv. Rows a < b of scans.csv, how b lies, and how much both correlate."""

    a: np.ndarray = column(WHOLE)
    b: np.ndarray = column(WHOLE)
    kind: np.ndarray = column(TEXT)
    correlation: np.ndarray = column(SIX_DECIMALS)


@dataclass(frozen=True)
class Groups(Table):
    """Groups of copies and the pair in each that correlates least, the lowest first: data/scans/groups.csv."""

    group: np.ndarray = column(WHOLE)
    files: np.ndarray = column(WHOLE)
    a: np.ndarray = column(WHOLE)
    b: np.ndarray = column(WHOLE)
    kind: np.ndarray = column(TEXT)
    lowest_correlation: np.ndarray = column(SIX_DECIMALS)


@dataclass(frozen=True)
class Conflicts(Table):
    """Scans whose copies or whose source give another class, as in `Scans`: data/scans/conflicts.csv."""

    group: np.ndarray = column(WHOLE)
    path: np.ndarray = column(TEXT)
    class_name: np.ndarray = column(TEXT, "class")
    source_class: np.ndarray = column(TEXT)
    official_split: np.ndarray = column(TEXT)
