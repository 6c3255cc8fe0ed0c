"""Known scans of a released model: reference.csv."""

from dataclasses import dataclass

import numpy as np

from trueslice.tables.base import TEXT, WHOLE, Table, column


@dataclass(frozen=True)
class KnownScans(Table):
    """The scans that a released model was made and tested with, as in `Splits`: reference.csv in its folder."""

    path: np.ndarray = column(TEXT)
    class_name: np.ndarray = column(TEXT, "class")
    split: np.ndarray = column(TEXT)  # `train`, `val` or `test`
    unit: np.ndarray = column(WHOLE)
