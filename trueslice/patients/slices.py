"""The slices of a published source that names their patients, and the search for them among any pictures.

The source is Jun Cheng's brain tumour data: figshare, article 1512427, doi 10.6084/m9.figshare.1512427, CC BY 4.0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trueslice.patients.fingerprints import from_text, nearest
from trueslice.tables.base import TEXT, WHOLE, Table, column

SHIPPED = Path(__file__).with_name("slices.csv")  # written by `python -m research.slices`
SOURCE = "figshare"
# Bits in which fingerprints of one slice may differ. research/fingerprints.py measures what that is worth.
TOLERANCE = 64


@dataclass(frozen=True)
class Slices(Table):
    """Slices of the source: slices.csv."""

    slice: np.ndarray = column(WHOLE)  # number in the source
    source_id: np.ndarray = column(TEXT)  # of the patient, in the source
    patient: np.ndarray = column(TEXT)  # the same without a letter behind the digits
    source_class: np.ndarray = column(TEXT)
    plane: np.ndarray = column(TEXT)  # for example axial
    fingerprint: np.ndarray = column(TEXT)  # as `trueslice.patients.fingerprints.to_text` writes it


class Found(NamedTuple):
    """The slices of the source that N scans show."""

    row: np.ndarray  # int [N], of the slice in the table; -1 for a scan that is none
    orientation: np.ndarray  # str [N], turn from the most similar slice to the scan
    difference: np.ndarray  # int [N], bits in which its fingerprint differs from that of the scan


def find(means: np.ndarray) -> Found:
    """Find the slices that thumbnails, [N, 64, 64], show, however they are turned."""
    row, orientation, difference = nearest(means, _shipped(SHIPPED)[1])
    return Found(np.where(difference <= TOLERANCE, row, -1), orientation, difference)


def patients(means: np.ndarray) -> np.ndarray:
    """Return the patients of thumbnails, [N, 64, 64], that show slices of the source: str [N], empty for others."""
    row = find(means).row
    return np.where(row >= 0, shipped().patient[row], "")


def of_patients(means: np.ndarray, known: Callable[[], np.ndarray]) -> np.ndarray:
    """Tell which thumbnails, [N, 64, 64], show slices of patients whom `known` returns, str [M]: bool [N].

    Finding patients takes seconds, so `known` is called only if one of the thumbnails shows a slice.
    """
    own = patients(means)
    is_slice = own != ""
    return is_slice & np.isin(own, known()) if is_slice.any() else is_slice


def shipped() -> Slices:
    """Return the table of all slices."""
    return _shipped(SHIPPED)[0]


@cache
def _shipped(path: Path) -> tuple[Slices, np.ndarray]:
    table = Slices.read(path)
    return table, np.stack([from_text(text) for text in table.fingerprint.tolist()])
