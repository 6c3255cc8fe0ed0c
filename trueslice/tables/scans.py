"""Decoded scans and their copies: data/scans/*.csv."""

from dataclasses import dataclass

import numpy as np

from trueslice.tables.base import OFFICIAL, SIX_DECIMALS, TEXT, WHOLE, Table, column
from trueslice.tables.rows import shown


@dataclass(frozen=True)
class Scans(Table):
    """Decoded scans, in the order of data/scans/pixels.npy: data/scans/scans.csv."""

    path: np.ndarray = column(TEXT)  # relative to data/raw, with forward slashes; a frame has `, frame N` behind
    class_name: np.ndarray = column(TEXT, "class")  # name of its class folder
    # `train`, `val`, `test`, or empty where the source comes without such folders
    official_split: np.ndarray = column(OFFICIAL)
    width: np.ndarray = column(WHOLE)  # in pixels, after EXIF orientation
    height: np.ndarray = column(WHOLE)  # likewise
    mode: np.ndarray = column(TEXT)  # Pillow's mode of the file, DICOM or NIfTI
    # Start of the SHA-256 over shape and pixels at full size; of an empty frame, over the path of its file too.
    pixel_hash: np.ndarray = column(TEXT)
    group: np.ndarray = column(WHOLE)  # the same for copies of each other, the row number of the first of them
    # The next four come from a table of patients; empty where unknown.
    patient: np.ndarray = column(TEXT)
    source: np.ndarray = column(TEXT)  # the collection that the scan was taken from
    source_class: np.ndarray = column(TEXT)  # its class there, by the names of `classes`
    plane: np.ndarray = column(TEXT)  # for example axial
    # Correlation with the most similar scan in the best orientation, without alignment; 1 for an exact copy.
    best_match: np.ndarray = column(SIX_DECIMALS)

    def _check(self) -> None:
        wrong = (self.group < 0) | (self.group > np.arange(len(self)))
        if wrong.any():
            raise ValueError(f"the group of {shown(self.path[wrong][0])} is neither its own row nor one before it")
        if len({*self.path.tolist()}) < len(self):
            raise ValueError("a path is in it twice")


@dataclass(frozen=True)
class Pairs(Table):
    """Pairs of scans that are copies of each other: data/scans/pairs.csv."""

    a: np.ndarray = column(WHOLE)  # row of scans.csv
    b: np.ndarray = column(WHOLE)  # likewise, more than a
    kind: np.ndarray = column(TEXT)  # `exact`, `aligned`, or the orientation of b: `near`, `mirrored` and so on
    correlation: np.ndarray = column(SIX_DECIMALS)  # of both, in this orientation or once aligned


@dataclass(frozen=True)
class Groups(Table):
    """Groups of copies and the pair in each that correlates least, the lowest first: data/scans/groups.csv."""

    group: np.ndarray = column(WHOLE)  # as in `Scans`
    files: np.ndarray = column(WHOLE)  # number of its scans
    a: np.ndarray = column(WHOLE)  # the pair, as in `Pairs`
    b: np.ndarray = column(WHOLE)
    kind: np.ndarray = column(TEXT)
    lowest_correlation: np.ndarray = column(SIX_DECIMALS)


@dataclass(frozen=True)
class Conflicts(Table):
    """Scans whose copies or whose source give another class: data/scans/conflicts.csv. Columns are as in `Scans`."""

    group: np.ndarray = column(WHOLE)
    path: np.ndarray = column(TEXT)
    class_name: np.ndarray = column(TEXT, "class")
    source_class: np.ndarray = column(TEXT)
    official_split: np.ndarray = column(OFFICIAL)
